/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/search.h"

#include "base/place.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

char *policy_search_path(void)
{
    const char *variable = getenv("FLEETFLASH_POLICY_PATH");
    if (variable != NULL && variable[0] != '\0')
        return strdup(variable);
    return place_find(POLICY_BUILD_TREE, "plugins", POLICY_RELATIVE_FOLDER);
}

char *policy_search_absolute(const char *file)
{
    char folder[PATH_MAX], whole[2 * PATH_MAX];
    if (file[0] == '/' || getcwd(folder, sizeof folder) == NULL)
        return strdup(file);
    snprintf(whole, sizeof whole, "%s/%s", folder, file);
    return strdup(whole);
}

char *policy_search_file(const char *path, const char *name)
{
    char file[PATH_MAX];
    while (*path != '\0') {
        size_t length = strcspn(path, ":");
        int size = snprintf(file, sizeof file, "%.*s/%s.so", (int)length, path, name);
        if (length > 0 && size < (int)sizeof file && access(file, F_OK) == 0)
            return policy_search_absolute(file);
        path += length + (path[length] == ':');
    }
    return NULL;
}

struct name_list {
    char **names;
    size_t count;
};

static int list_contains(const struct name_list *list, const char *name)
{
    for (size_t i = 0; i < list->count; i++) {
        if (strcmp(list->names[i], name) == 0)
            return 1;
    }
    return 0;
}

/* Takes name over; 0, or -1 when memory is short. */
static int list_add(struct name_list *list, char *name)
{
    if (name != NULL && list_contains(list, name)) {
        free(name);
        return 0;
    }
    char **names = realloc(list->names, (list->count + 1) * sizeof *names);
    if (names != NULL)
        list->names = names;
    if (names == NULL || name == NULL) {
        free(name);
        return -1;
    }
    list->names[list->count++] = name;
    return 0;
}

static int list_add_folder(struct name_list *list, const char *folder)
{
    DIR *dir = opendir(folder);
    int result = 0;
    if (dir == NULL)
        return 0;
    for (struct dirent *entry; result == 0 && (entry = readdir(dir)) != NULL;) {
        size_t length = strlen(entry->d_name);
        if (length > 3 && strcmp(entry->d_name + length - 3, ".so") == 0)
            result = list_add(list, strndup(entry->d_name, length - 3));
    }
    closedir(dir);
    return result;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

char **policy_search_names(const char *path, size_t *count)
{
    struct name_list list = {calloc(1, sizeof(char *)), 0};
    while (list.names != NULL && *path != '\0') {
        char folder[PATH_MAX];
        size_t length = strcspn(path, ":");
        snprintf(folder, sizeof folder, "%.*s", (int)length, path);
        if (length > 0 && list_add_folder(&list, folder) != 0) {
            policy_search_names_free(list.names, list.count);
            return NULL;
        }
        path += length + (path[length] == ':');
    }
    if (list.count > 0)
        qsort(list.names, list.count, sizeof *list.names, compare_names);
    *count = list.count;
    return list.names;
}

void policy_search_names_free(char **names, size_t count)
{
    for (size_t i = 0; names != NULL && i < count; i++)
        free(names[i]);
    free(names);
}
