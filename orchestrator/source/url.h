/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses of images: telling them from paths, showing them, finding what lies beside them. */
#ifndef SOURCE_URL_H
#define SOURCE_URL_H

#include <stdbool.h>
#include <stddef.h>

/* http:// or https:// */
bool url_is_http(const char *text);

/* The address for messages and reports: without user, password, query and fragment, where secrets
 * stand. The caller frees; NULL when memory is short. */
char *url_display(const char *url);

/* Whether url_display leaves out more than a fragment; so for what is no address. */
bool url_has_secrets(const char *url);

/* The address of a file beside url's: with ending appended to its path, or, when file is not NULL,
 * that file in place of the path's last part. The query (a token, say) is kept. The caller frees;
 * NULL when it is no address or memory is short. */
char *url_beside(const char *url, const char *file, const char *ending);

/* The address without the last count characters of its path (an ending of plain ASCII). The caller
 * frees; NULL as above. */
char *url_without(const char *url, size_t count);

/* The last part of its path, decoded; the caller frees. */
char *url_base_name(const char *url);

#endif
