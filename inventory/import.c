/* SPDX-License-Identifier: Apache-2.0 */
#include "import.h"

#include "address.h"
#include "csv.h"
#include "ranges.h"
#include "values.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define FILE_MAX   (4u << 20) /* 4096 boards, which an inventory may have, at 1 KiB each */
#define TEXT_MAX   256
#define CHIP_FIRST "gpiochip0" /* what a bare number counts on */

enum column { COLUMN_MAC, COLUMN_IP, COLUMN_GPIO, COLUMN_NAME, COLUMN_COUNT };

/* A column by any of its names, compared without case, blanks, '-' and '_'. */
static const struct {
    const char *name;
    enum column column;
} column_names[] = {
    {"mac", COLUMN_MAC},       {"macaddress", COLUMN_MAC}, {"macaddr", COLUMN_MAC},
    {"hwaddr", COLUMN_MAC},    {"ethernet", COLUMN_MAC},   {"ip", COLUMN_IP},
    {"ipaddress", COLUMN_IP},  {"ipaddr", COLUMN_IP},      {"address", COLUMN_IP},
    {"host", COLUMN_IP},       {"gpio", COLUMN_GPIO},      {"gpiopin", COLUMN_GPIO},
    {"pin", COLUMN_GPIO},      {"line", COLUMN_GPIO},      {"resetline", COLUMN_GPIO},
    {"reset", COLUMN_GPIO},    {"resetgpio", COLUMN_GPIO}, {"name", COLUMN_NAME},
    {"hostname", COLUMN_NAME}, {"board", COLUMN_NAME},     {"device", COLUMN_NAME},
};

struct board {
    char mac[MAC_TEXT_SIZE];
    char host[TEXT_MAX];
    char chip[TEXT_MAX], line[TEXT_MAX];                    /* both empty: no reset line */
    char same_host[TEXT_MAX], same_line[2 * TEXT_MAX + 20]; /* written in one way; "": none */
    char name[TEXT_MAX];                                    /* empty: made of the MAC address */
    struct position at;
};

struct import {
    const char *file;
    struct diagnostics *mistakes;
    int place_of[COLUMN_COUNT]; /* the cell that holds a column, -1: none */
    char separator;             /* 0: not known yet */
    bool over;                  /* what follows in the file would only repeat a mistake */
    struct board *boards;
    size_t count;
};

/* --- columns ---------------------------------------------------------------------------------- */

/* The column that a cell names, or -1. */
static int column_of(const char *cell)
{
    char word[TEXT_MAX];
    size_t used = 0;
    for (const char *c = cell; *c != '\0' && used + 1 < sizeof word; c++)
        if (strchr(" -_.", *c) == NULL)
            word[used++] = *c;
    word[used] = '\0';
    for (size_t i = 0; i < sizeof column_names / sizeof *column_names; i++)
        if (strcasecmp(word, column_names[i].name) == 0)
            return (int)column_names[i].column;
    return -1;
}

/* "sep=;", which some spreadsheets write and read as a first line. */
static bool take_separator(struct import *import, const char *line)
{
    if (strncasecmp(line, "sep=", 4) != 0 || strlen(line) > 5 || strchr(";\t,|", line[4]) == NULL)
        return false;
    import->separator = line[4] != '\0' ? line[4] : '\t'; /* a tab at the end was cut off */
    return true;
}

/* The first line: names of columns, when one of its cells is such a name. True when it was. */
static bool take_header(struct import *import, const struct csv_line *line, unsigned number)
{
    bool is_header = false;
    int places[COLUMN_COUNT] = {-1, -1, -1, -1};
    for (size_t i = 0; i < line->count; i++) {
        int column = column_of(line->cells[i]);
        is_header |= column >= 0;
        if (column >= 0 && places[column] >= 0)
            diagnostics_add(import->mistakes, import->file,
                            (struct position){number, line->columns[i]},
                            "two columns hold the same: '%s' and '%s'", line->cells[places[column]],
                            line->cells[i]);
        else if (column >= 0)
            places[column] = (int)i;
    }
    if (!is_header)
        return false;
    memcpy(import->place_of, places, sizeof places);
    static const char *const wanted[] = {[COLUMN_MAC] = "mac", [COLUMN_IP] = "ip"};
    for (int column = COLUMN_MAC; column <= COLUMN_IP; column++) {
        if (places[column] >= 0)
            continue;
        diagnostics_add(import->mistakes, import->file, (struct position){number, 1},
                        "no column is named '%s'", wanted[column]);
        import->over = true; /* no line has it */
    }
    return true;
}

/* The cell of a column, "" where the line has none; at is where it stands. */
static const char *cell_of(const struct import *import, const struct csv_line *line,
                           enum column column, struct position *at)
{
    int place = import->place_of[column];
    bool is_there = place >= 0 && (size_t)place < line->count;
    at->column = is_there ? line->columns[place] : 1;
    return is_there ? line->cells[place] : "";
}

/* --- one board -------------------------------------------------------------------------------- */

static void wrong(struct import *import, struct position at, const char *text)
{
    diagnostics_add(import->mistakes, import->file, at, "%s", text);
}

static void read_mac(struct import *import, const char *cell, struct position at, struct board *out)
{
    char why[TEXT_MAX + 80];
    if (cell[0] == '\0')
        wrong(import, at, "a board without a MAC address");
    else if (mac_canonical(cell, out->mac, why, sizeof why) != 0)
        wrong(import, at, why);
}

static void read_host(struct import *import, const char *cell, struct position at,
                      struct board *out)
{
    char why[TEXT_MAX + 80];
    if (cell[0] == '\0')
        wrong(import, at, "a board without an IP address");
    else if (address_check(cell, why, sizeof why) != 0)
        wrong(import, at, why);
    else {
        snprintf(out->host, sizeof out->host, "%s", cell);
        address_canonical(cell, out->same_host, sizeof out->same_host);
    }
}

/* What may stand in quotes in YAML as it is, and in a chip's path or a line's name. */
static bool is_plain(const char *text)
{
    for (const char *c = text; *c != '\0'; c++)
        if (!isalnum((unsigned char)*c) && strchr("_-+./ ", *c) == NULL)
            return false;
    return text[0] != '\0';
}

/* "17", "GPIO17", "gpiochip1:17", "gpiochip1/17"; "", "-" and "none" are no line. */
static void read_gpio(struct import *import, const char *cell, struct position at,
                      struct board *out)
{
    if (cell[0] == '\0' || strcmp(cell, "-") == 0 || strcasecmp(cell, "none") == 0)
        return;
    const char *colon = strchr(cell, ':');
    if (colon == NULL && strncmp(cell, "gpiochip", 8) == 0)
        colon = strchr(cell, '/');
    snprintf(out->line, sizeof out->line, "%s", colon != NULL ? colon + 1 : cell);
    snprintf(out->chip, sizeof out->chip, "%.*s", colon != NULL ? (int)(colon - cell) : TEXT_MAX,
             colon != NULL ? cell : CHIP_FIRST);
    if (strlen(cell) >= TEXT_MAX || !is_plain(out->line) || !is_plain(out->chip))
        diagnostics_add(import->mistakes, import->file, at,
                        "'%s' is no reset line like 17, GPIO17 or gpiochip0:17", cell);
    reset_line_canonical(out->chip, out->line, out->same_line, sizeof out->same_line);
}

static void read_name(struct import *import, const char *cell, struct position at,
                      struct board *out)
{
    char why[TEXT_MAX + 80];
    if (cell[0] != '\0' && value_check_name(cell, why, sizeof why) != 0)
        diagnostics_add(import->mistakes, import->file, at, "the name %s", why);
    else
        snprintf(out->name, sizeof out->name, "%s", cell);
}

/* What tells that two lines mean one board; NULL: nothing does. */
static const char *same_board(const struct board *board, const struct board *other)
{
    if (board->mac[0] != '\0' && strcmp(board->mac, other->mac) == 0)
        return board->mac;
    if (board->host[0] != '\0' && strcmp(board->same_host, other->same_host) == 0)
        return board->host;
    if (board->name[0] != '\0' && strcmp(board->name, other->name) == 0)
        return board->name;
    return NULL;
}

/* No two boards share a MAC address, an IP address, a line or a name. Told of the first of them
 * only: a table that has one board a thousand times would give half a million mistakes. */
static void check_unique(struct import *import, const struct board *board)
{
    bool is_same = false, is_reset = false;
    for (size_t i = 0; i < import->count && !(is_same && is_reset); i++) {
        const struct board *other = &import->boards[i];
        const char *same = is_same ? NULL : same_board(board, other);
        if (same != NULL) {
            is_same = true;
            diagnostics_add(import->mistakes, import->file, board->at,
                            "%s is the board of line %u already", same, other->at.line);
        }
        if (!is_reset && board->line[0] != '\0' &&
            strcmp(board->same_line, other->same_line) == 0) {
            is_reset = true;
            diagnostics_add(import->mistakes, import->file, board->at,
                            "line %s of %s resets the board of line %u already", board->line,
                            board->chip, other->at.line);
        }
    }
}

static void take_board(struct import *import, const struct csv_line *line, unsigned number)
{
    if (import->count == RANGE_HOSTS_MAX) {
        diagnostics_add(import->mistakes, import->file, (struct position){number, 1},
                        "more than %u boards, which no inventory may have; split the table",
                        RANGE_HOSTS_MAX);
        import->over = true;
        return;
    }
    if ((import->count & (import->count - 1)) == 0) { /* doubles at each power of two */
        size_t room = import->count == 0 ? 1 : import->count * 2;
        struct board *boards = realloc(import->boards, room * sizeof *boards);
        if (boards == NULL) {
            wrong(import, (struct position){number, 1}, "no memory for so many boards");
            return;
        }
        import->boards = boards;
    }
    struct board *board = &import->boards[import->count];
    memset(board, 0, sizeof *board);
    static void (*const readers[COLUMN_COUNT])(struct import *, const char *, struct position,
                                               struct board *) = {
        [COLUMN_MAC] = read_mac,
        [COLUMN_IP] = read_host,
        [COLUMN_GPIO] = read_gpio,
        [COLUMN_NAME] = read_name,
    };
    struct position at = {number, 1};
    for (enum column column = 0; column < COLUMN_COUNT; column++) {
        const char *cell = cell_of(import, line, column, &at);
        readers[column](import, cell, at, board);
    }
    board->at = (struct position){number, 1};
    check_unique(import, board);
    import->count++;
}

/* --- the file --------------------------------------------------------------------------------- */

static void take_line(struct import *import, char *text, unsigned number, bool *is_first)
{
    struct csv_line line;
    char why[80];
    size_t end = strlen(text);
    while (end > 0 && isspace((unsigned char)text[end - 1]))
        text[--end] = '\0';
    size_t begin = strspn(text, " \t");
    if (text[begin] == '\0' || text[begin] == '#')
        return;
    if (*is_first && import->separator == 0 && take_separator(import, text))
        return;
    if (import->separator == 0)
        import->separator = csv_separator(text);
    if (csv_split(text, import->separator, &line, why, sizeof why) != 0) {
        wrong(import, (struct position){number, 1}, why);
        return;
    }
    bool was_first = *is_first;
    *is_first = false;
    if (!(was_first && take_header(import, &line, number)))
        take_board(import, &line, number);
}

/* The first byte that no line of a text has, or -1: a tab is fine, and so is what is not ASCII. */
static int find_binary(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)text[i];
        if ((byte < 0x20 && byte != '\t') || byte == 0x7f)
            return byte;
    }
    return -1;
}

/* Lines end with LF, CR LF or, from old spreadsheets, CR alone. */
static void take_lines(struct import *import, char *text, size_t size)
{
    bool is_first = true;
    unsigned number = 0;
    char *end = text + size;
    if (size >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) /* what some spreadsheets begin with */
        text += 3;
    for (char *next; text < end && !import->over; text = next) {
        char *line_end = text;
        while (line_end < end && *line_end != '\n' && *line_end != '\r')
            line_end++;
        next = line_end + (end - line_end >= 2 && line_end[0] == '\r' && line_end[1] == '\n') + 1;
        number++;
        int binary = find_binary(text, (size_t)(line_end - text));
        if (binary >= 0) {
            diagnostics_add(import->mistakes, import->file, (struct position){number, 1},
                            "the byte 0x%02x: this is no text; save it as CSV in UTF-8",
                            (unsigned)binary);
            return;
        }
        *line_end = '\0'; /* behind the last line there is room for it */
        take_line(import, text, number, &is_first);
    }
}

/* "board-" and the digits of (the end of) a MAC address. */
static void name_make(const char *mac, char *name, size_t size)
{
    size_t used = (size_t)snprintf(name, size, "board-");
    for (const char *c = mac; *c != '\0'; c++)
        if (*c != ':')
            name[used++] = *c;
    name[used] = '\0';
}

/* A name of its own for a board without one: the MAC's last three bytes, all six where two boards
 * end alike or another one has that name. */
static void name_board(const struct import *import, struct board *board)
{
    bool taken = false;
    name_make(board->mac + 9, board->name, sizeof board->name);
    for (size_t i = 0; i < import->count; i++) {
        const struct board *other = &import->boards[i];
        taken |= other != board && (strcmp(other->mac + 9, board->mac + 9) == 0 ||
                                    strcmp(other->name, board->name) == 0);
    }
    if (taken)
        name_make(board->mac, board->name, sizeof board->name);
}

static char *print_inventory(struct import *import)
{
    char *out = NULL;
    size_t size;
    FILE *stream = open_memstream(&out, &size);
    if (stream == NULL)
        return NULL;
    fprintf(stream,
            "# Look at these before the first run: the user, the level that resets a board\n"
            "# (active: high or low), how its host key is to be trusted.\n"
            "groups:\n"
            "  imported:\n"
            "    # vars: {user: pi, mode: netboot}\n"
            "    hosts:\n");
    for (size_t i = 0; i < import->count; i++) {
        struct board *board = &import->boards[i];
        if (board->name[0] == '\0')
            name_board(import, board);
        fprintf(stream, "      \"%s\": {host: \"%s\", mac: \"%s\"", board->name, board->host,
                board->mac);
        if (board->line[0] != '\0')
            fprintf(stream, ", reset: {chip: \"%s\", line: \"%s\"}", board->chip, board->line);
        fprintf(stream, "}\n");
    }
    return fclose(stream) == 0 ? out : (free(out), NULL);
}

char *import_text(const char *file, const char *text, size_t size, struct diagnostics *mistakes)
{
    struct import import = {
        .file = file,
        .mistakes = mistakes,
        .place_of = {[COLUMN_MAC] = 0, [COLUMN_IP] = 1, [COLUMN_GPIO] = 2, [COLUMN_NAME] = 3},
    };
    size_t before = mistakes->count;
    char *out = NULL;
    char *copy = malloc(size + 1);
    if (copy != NULL) {
        memcpy(copy, text, size);
        take_lines(&import, copy, size);
    }
    if (copy != NULL && mistakes->count == before && import.count == 0)
        wrong(&import, (struct position){0, 0}, "no board is in it");
    if (copy != NULL && mistakes->count == before)
        out = print_inventory(&import);
    if (out == NULL && mistakes->count == before)
        wrong(&import, (struct position){0, 0}, "no memory");
    free(copy);
    free(import.boards);
    return out;
}

char *import_file(const char *path, struct diagnostics *mistakes)
{
    FILE *stream = fopen(path, "re");
    char *text = malloc(FILE_MAX + 1);
    size_t size = stream != NULL && text != NULL ? fread(text, 1, FILE_MAX + 1, stream) : 0;
    char *out = NULL;
    if (stream == NULL || text == NULL || ferror(stream) != 0)
        diagnostics_add(mistakes, path, (struct position){0, 0}, "cannot be read: %s",
                        strerror(errno));
    else if (size > FILE_MAX)
        diagnostics_add(mistakes, path, (struct position){0, 0},
                        "larger than 4 MiB: this is no table of boards");
    else
        out = import_text(path, text, size, mistakes);
    free(text);
    if (stream != NULL)
        fclose(stream);
    return out;
}
