/* SPDX-License-Identifier: Apache-2.0 */
/* Commands for a device's shell. */
#ifndef TARGET_SHELL_H
#define TARGET_SHELL_H

#include <stdbool.h>

/* text as one word of a POSIX shell, in memory that the caller frees; NULL when memory is short. */
char *shell_quote(const char *text);

/* The command line that runs a shell command as root: as it is when the ssh user is root, else
 * through `sudo -n` (never asks, never a pty). The caller frees; NULL when memory is short. */
char *shell_as_root(const char *command, bool is_root);

/* Finds "\nkey=value\n" in a survey's output; copies the value into out (terminated). Returns false
 * when the key is not there. */
bool shell_value(const char *output, const char *key, char *out, unsigned out_size);

#endif
