/* privileges.h - an exec that is traced doesn't raise privileges: what would, mustn't be traced. */
#ifndef REQSCOPE_PRIVILEGES_H
#define REQSCOPE_PRIVILEGES_H

/* Whether this process would get more privileges by executing the file: NULL, or by what, a sentence's end. */
const char *rqs_privileges_raised(int file);

#endif
