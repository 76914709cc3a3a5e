/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/file.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

typedef const struct ff_policy *(*register_function)(void);

static void progress(int fd, char step)
{
    /* Only a hint for the message: a write that fails changes nothing. */
    if (fd >= 0 && write(fd, &step, 1) != 1)
        return;
}

/* dlerror() starts with the path, which the caller names anyway. */
static const char *loader_reason(const char *path)
{
    const char *text = dlerror();
    if (text == NULL)
        return "it cannot be loaded";
    size_t length = strlen(path);
    return strncmp(text, path, length) == 0 && strncmp(text + length, ": ", 2) == 0
               ? text + length + 2
               : text;
}

int policy_file_open(struct policy_file *file, const char *path, int progress_fd, char *why,
                     size_t why_size)
{
    register_function function;
    progress(progress_fd, STEP_LOAD);
    file->handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (file->handle == NULL) {
        snprintf(why, why_size, "%s", loader_reason(path));
        return -1;
    }
    void *symbol = dlsym(file->handle, "fleetflash_policy");
    if (symbol == NULL) {
        snprintf(why, why_size,
                 "it has no function fleetflash_policy (FF_REGISTER_POLICY is missing)");
        goto fail;
    }
    /* ISO C has no cast from an object's address to a function's; POSIX guarantees this copy. */
    memcpy(&function, &symbol, sizeof function);
    progress(progress_fd, STEP_CALL);
    const struct ff_policy *given = function();
    progress(progress_fd, STEP_READ);
    if (policy_table_read(given, path, &file->table, why, why_size) != 0)
        goto fail;
    return 0;
fail:
    policy_file_close(file);
    return -1;
}

void policy_file_close(struct policy_file *file)
{
    dlclose(file->handle);
    file->handle = NULL;
}
