/* Several views of a picture: what all of one scale need is decoded once, and each is resized from that. */

#include "views.h"

#include "../arithmetic.h"
#include "../bounds.h"
#include "../clock.h"
#include "cut.h"
#include "decode.h"
#include "geometry.h"
#include "kind.h"
#include "passes.h"
#include "picture.h"
#include "resize.h"

enum { WAITING = INCOMPLETE + 1, MEMBER }; /* of a view: to be decoded, being decoded */

#define TAIL (4 * SLACK) /* bytes that may be touched after the last row of a group's pixels */

/* Views at one scale. */
struct group {
    struct box around; /* what holds the boxes of all views, in the picture as stored */
    struct part part;  /* its box is that one, wherever it lies in the part */
    int scale, checked;
    int64_t left, top, right, bottom; /* the pixels that are needed, of the part as decoded */
    uint8_t *pixels;                  /* those, and maybe more columns */
    int64_t offset;                   /* the column at which a row of them begins */
    size_t stride;
};

static enum status read_group(struct worker *worker, void *what) {
    struct group *group = what;
    struct jpeg_decompress_struct *jpeg = &worker->jpeg;
    enum status status = start_picture(jpeg, &group->part, group->scale);
    if (status != DONE)
        return status;
    group->offset = crop_columns(jpeg, group->left, group->right);
    group->stride = 3 * (size_t)jpeg->output_width;
    size_t rows = (size_t)(group->bottom - group->top);
    if (group->stride > MAX_SCRATCH / (rows + STRIP_ROWS))
        return NO_MEMORY;
    group->pixels = reserve(&worker->scratch.picture, group->stride * (rows + 1) + TAIL);
    if (!group->pixels)
        return NO_MEMORY;
    if (group->top)
        jpeg_skip_scanlines(jpeg, (JDIMENSION)group->top);
    for (size_t at = 0; at < rows;) {
        JSAMPROW pointers[STRIP_ROWS];
        int count = (int)least(STRIP_ROWS, (int64_t)(rows - at));
        for (int i = 0; i < count; i++)
            pointers[i] = group->pixels + group->stride * (at + (size_t)i);
        at += jpeg_read_scanlines(jpeg, pointers, (JDIMENSION)count);
    }
    if (!group->checked)
        read_to_end(jpeg, group->pixels + group->stride * rows); /* a row to spare */
    return DONE;
}

/* The part for one of the group's views: the same picture, and that view's box in it. */
static struct part part_of(const struct group *group, const struct header *header, const struct job *job) {
    struct box box = stored_box(job->orientation, header->width, header->height, job->box);
    int64_t x = group->part.box.left - group->around.left, y = group->part.box.top - group->around.top;
    struct part part = group->part;
    part.box = (struct box){box.left + x, box.top + y, box.right + x, box.bottom + y};
    return part;
}

static enum status resize_view(struct worker *worker, const struct group *group, const struct part *part,
                               const struct job *job, uint8_t *row) {
    struct plan plan;
    struct shown shown = show(job, row);
    if (!make_plan(&plan, part, job, &shown, &worker->scratch))
        return NO_MEMORY;
    /* Taps reach beyond the last column of the last row by less than a row, which is there. */
    void *spare = reserve(&worker->scratch.strip, 3 * (size_t)plan.x.count + SLACK);
    if (!spare)
        return NO_MEMORY;
    const uint8_t *pixels = group->pixels + group->stride * (size_t)(plan.y.first - group->top) +
                            3 * (size_t)(plan.x.first - group->offset);
    take_rows(&plan, 0, (int)(plan.y.last - plan.y.first), pixels, group->stride, spare);
    return finish_view(&plan, &shown, &worker->scratch);
}

/* Which pixels of the part all of these views need. */
static int measure(struct group *group, const struct part *part, const struct job *job, uint8_t *row,
                   struct scratch *scratch) {
    struct plan plan;
    struct shown shown = show(job, row);
    if (!make_plan(&plan, part, job, &shown, scratch))
        return 0;
    group->left = least(group->left, plan.x.first);
    group->top = least(group->top, plan.y.first);
    group->right = most(group->right, plan.x.last);
    group->bottom = most(group->bottom, plan.y.last);
    return 1;
}

/* Makes those views members that are WAITING, and whose scale is the group's. Returns their number. */
static int gather(struct group *group, const struct header *header, const struct job *jobs, int32_t *statuses,
                  int count) {
    struct box *around = &group->around;
    int members = 0;
    *around = (struct box){INT64_MAX, INT64_MAX, 0, 0};
    group->checked = 1;
    for (int i = 0; i < count; i++) {
        if (statuses[i] != WAITING || scale_of(&jobs[i]) != group->scale)
            continue;
        struct box box = stored_box(jobs[i].orientation, header->width, header->height, jobs[i].box);
        *around = (struct box){least(around->left, box.left), least(around->top, box.top),
                               most(around->right, box.right), most(around->bottom, box.bottom)};
        group->checked = group->checked && jobs[i].checked;
        statuses[i] = MEMBER;
        members++;
    }
    return members;
}

/* Those of a file's views that are WAITING, and whose scale is the first such one's. */
static void decode_group(struct worker *worker, struct bytes data, const struct header *header, const struct job *jobs,
                         uint8_t *const *rows, int32_t *statuses, int first, int count) {
    struct group group = {.scale = scale_of(&jobs[first]), .left = INT64_MAX, .top = INT64_MAX};
    if (gather(&group, header, jobs, statuses, count) == 1) {
        statuses[first] = (int32_t)decode_view(worker, data, header, &jobs[first], rows[first]);
        return;
    }
    group.part = part_around(data, header, group.around, group.scale, group.checked, &worker->scratch);
    enum status status = DONE;
    for (int i = first; i < count && status == DONE; i++)
        if (statuses[i] == MEMBER) {
            struct part part = part_of(&group, header, &jobs[i]);
            if (!measure(&group, &part, &jobs[i], rows[i], &worker->scratch))
                status = NO_MEMORY;
        }
    if (status == DONE)
        status = attempt(worker, read_group, &group);
    int64_t start = nanoseconds();
    for (int i = first; i < count; i++)
        if (statuses[i] == MEMBER) {
            struct part part = part_of(&group, header, &jobs[i]);
            statuses[i] = (int32_t)(status != DONE ? status : resize_view(worker, &group, &part, &jobs[i], rows[i]));
        }
    worker->resize_ns += nanoseconds() - start;
}

void decode_views(struct worker *worker, struct bytes data, const struct job *jobs, uint8_t *const *rows,
                  int32_t *statuses, int count) {
    struct header header;
    enum kind kind = kind_of(data, &header);
    for (int i = 0; i < count; i++) {
        enum status status = check_job(kind, &header, &jobs[i]);
        statuses[i] = status == DONE ? WAITING : (int32_t)status;
    }
    for (int i = 0; i < count; i++)
        if (statuses[i] == WAITING)
            decode_group(worker, data, &header, jobs, rows, statuses, i, count);
}
