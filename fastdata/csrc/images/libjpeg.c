/* libjpeg's handlers of errors and messages (its libjpeg.txt, "Error handling"): nothing is printed, nothing exits. */

#include "libjpeg.h"

#include <jerror.h>

void on_error(j_common_ptr jpeg) {
    struct escape *escape = (struct escape *)jpeg->err;
    escape->status = jpeg->err->msg_code == JERR_OUT_OF_MEMORY ? NO_MEMORY : FAILED;
    longjmp(escape->to, 1);
}

void on_message(j_common_ptr jpeg, int level) {
    struct escape *escape = (struct escape *)jpeg->err;
    if (level >= 0)
        return; /* a trace */
    escape->status = WARNING;
    longjmp(escape->to, 1);
}

static void on_output(j_common_ptr jpeg) { (void)jpeg; }

struct jpeg_error_mgr *refuse_damage(struct escape *escape) {
    jpeg_std_error(&escape->manager);
    escape->manager.error_exit = on_error;
    escape->manager.emit_message = on_message;
    escape->manager.output_message = on_output;
    return &escape->manager;
}
