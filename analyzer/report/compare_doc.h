/* compare_doc.h - a comparison as a document for people. */
#ifndef REQSCOPE_COMPARE_DOC_H
#define REQSCOPE_COMPARE_DOC_H

#include "render/doc.h"
#include "report/findings.h"

struct rqs_doc *rqs_compare_doc(const struct rqs_findings *findings);

#endif
