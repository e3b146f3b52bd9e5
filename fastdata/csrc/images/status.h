/* What became of a sample; kernel.py has the same list. */

#pragma once

enum status { DONE, BAD_HEADER, OTHER_KIND, MANY_SCANS, BAD_VIEW, TOO_LARGE, NO_MEMORY, WARNING, FAILED, INCOMPLETE };
