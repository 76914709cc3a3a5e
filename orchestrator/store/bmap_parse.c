/* SPDX-License-Identifier: Apache-2.0 */
/* The XML of block maps, as bmaptool writes it: 1.2 has no checksums, 1.3 sha1 ones (attribute
 * sha1, element BmapFileSHA1), later ones name the kind (ChecksumType, chksum, BmapFileChecksum).
 */
#include "store/bmap.h"

#include <ctype.h>
#include <errno.h>
#include <expat.h>
#include <openssl/evp.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RANGES_MAX (16u << 20)
#define BLOCK_MAX  (1ull << 30)
#define IMAGE_MAX  (1ull << 53)

struct parsing {
    XML_Parser parser;
    struct bmap *bmap;
    bool is_map; /* the root element is <bmap> */
    char text[160];
    size_t text_size;
    char own_digest[160];
    char range_digest[2 * BMAP_DIGEST_MAX + 1]; /* of the open Range */
    char problem[160];                          /* "": none yet */
};

static void problem_set(struct parsing *parsing, const char *what)
{
    if (parsing->problem[0] == '\0')
        snprintf(parsing->problem, sizeof parsing->problem, "%s (line %lu)", what,
                 (unsigned long)XML_GetCurrentLineNumber(parsing->parser));
    XML_StopParser(parsing->parser, XML_FALSE);
}

static const char *attribute(const char **attributes, const char *name)
{
    for (size_t i = 0; attributes[i] != NULL; i += 2)
        if (strcmp(attributes[i], name) == 0)
            return attributes[i + 1];
    return NULL;
}

static void root_begin(struct parsing *parsing, const char *name, const char **attributes)
{
    struct bmap *bmap = parsing->bmap;
    const char *version = attribute(attributes, "version");
    parsing->is_map = true;
    if (strcmp(name, "bmap") != 0 || version == NULL)
        problem_set(parsing, "it is no block map");
    else if (sscanf(version, "%3u.%3u", &bmap->major, &bmap->minor) != 2 || bmap->major < 1 ||
             bmap->major > 2)
        problem_set(parsing, "its version is not known here, only 1.x and 2.x are");
    else if (bmap->major == 1 && bmap->minor == 3) {
        strcpy(bmap->digest_name, "sha1");
        bmap->digest_size = 20;
    }
}

static void XMLCALL element_begin(void *arg, const char *name, const char **attributes)
{
    struct parsing *parsing = arg;
    parsing->text_size = 0;
    if (!parsing->is_map)
        root_begin(parsing, name, attributes);
    if (strcmp(name, "Range") != 0)
        return;
    const char *digest = attribute(attributes, "chksum");
    if (digest == NULL)
        digest = attribute(attributes, "sha1");
    int size = snprintf(parsing->range_digest, sizeof parsing->range_digest, "%s",
                        digest != NULL ? digest : "");
    if ((size_t)size >= sizeof parsing->range_digest)
        problem_set(parsing, "a checksum is too long");
}

static void XMLCALL text_append(void *arg, const char *text, int size)
{
    struct parsing *parsing = arg;
    for (int i = 0; i < size; i++) {
        if (isspace((unsigned char)text[i]))
            continue;
        if (parsing->text_size + 1 >= sizeof parsing->text)
            break;
        parsing->text[parsing->text_size++] = text[i];
    }
    if (parsing->text_size + 1 >= sizeof parsing->text)
        problem_set(parsing, "an element is too long");
}

/* A decimal number that ends at end. */
static bool number(const char *text, char end, uint64_t *value, const char **rest)
{
    char *stop;
    errno = 0;
    *value = strtoull(text, &stop, 10);
    *rest = stop;
    return isdigit((unsigned char)*text) && errno == 0 && *stop == end;
}

static void take_number(struct parsing *parsing, uint64_t *value)
{
    const char *rest;
    if (!number(parsing->text, '\0', value, &rest) || *value > IMAGE_MAX)
        problem_set(parsing, "a number is none");
}

static void take_digest_name(struct parsing *parsing)
{
    static const struct {
        const char *name;
        size_t size;
    } known[] = {{"sha1", 20}, {"sha256", 32}, {"sha512", 64}};
    struct bmap *bmap = parsing->bmap;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strcmp(parsing->text, known[i].name) != 0)
            continue;
        strcpy(bmap->digest_name, known[i].name);
        bmap->digest_size = known[i].size;
        return;
    }
    problem_set(parsing, "its kind of checksum is none of sha1, sha256, sha512");
}

static bool digest_decode(const struct bmap *bmap, const char *hex, uint8_t *out)
{
    size_t size;
    return bmap->digest_size > 0 &&
           sodium_hex2bin(out, BMAP_DIGEST_MAX, hex, strlen(hex), NULL, &size, NULL) == 0 &&
           size == bmap->digest_size && strlen(hex) == 2 * size;
}

static struct bmap_range *range_add(struct bmap *bmap)
{
    if (bmap->range_count == bmap->range_capacity) {
        size_t capacity = bmap->range_capacity * 2 + 64;
        struct bmap_range *larger = bmap->range_count < RANGES_MAX
                                        ? reallocarray(bmap->ranges, capacity, sizeof *larger)
                                        : NULL;
        if (larger == NULL)
            return NULL;
        bmap->ranges = larger;
        bmap->range_capacity = capacity;
    }
    return memset(&bmap->ranges[bmap->range_count++], 0, sizeof(struct bmap_range));
}

/* "first-last" or "only". */
static bool range_decode(const char *text, struct bmap_range *range)
{
    const char *rest;
    if (number(text, '-', &range->first, &rest))
        return number(rest + 1, '\0', &range->last, &rest) && range->last >= range->first;
    bool single = number(text, '\0', &range->first, &rest);
    range->last = range->first;
    return single;
}

static void take_range(struct parsing *parsing)
{
    struct bmap *bmap = parsing->bmap;
    struct bmap_range *range = range_add(bmap);
    if (range == NULL)
        problem_set(parsing, "it has too many ranges");
    else if (!range_decode(parsing->text, range) || range->last >= IMAGE_MAX)
        problem_set(parsing, "a range is none");
    else if (bmap->range_count > 1 && range->first <= range[-1].last)
        problem_set(parsing, "its ranges are not in order");
    else {
        range->has_digest = parsing->range_digest[0] != '\0';
        if (range->has_digest && !digest_decode(bmap, parsing->range_digest, range->digest))
            problem_set(parsing, "the checksum of a range is none");
    }
}

static void XMLCALL element_end(void *arg, const char *name)
{
    struct parsing *parsing = arg;
    struct bmap *bmap = parsing->bmap;
    parsing->text[parsing->text_size] = '\0';
    parsing->text_size = 0;
    if (parsing->problem[0] != '\0')
        return;
    if (strcmp(name, "ImageSize") == 0)
        take_number(parsing, &bmap->image_size);
    else if (strcmp(name, "BlockSize") == 0)
        take_number(parsing, &bmap->block_size);
    else if (strcmp(name, "BlocksCount") == 0)
        take_number(parsing, &bmap->block_count);
    else if (strcmp(name, "MappedBlocksCount") == 0)
        take_number(parsing, &bmap->mapped_count);
    else if (strcmp(name, "ChecksumType") == 0)
        take_digest_name(parsing);
    else if (strcmp(name, "BmapFileChecksum") == 0 || strcmp(name, "BmapFileSHA1") == 0)
        snprintf(parsing->own_digest, sizeof parsing->own_digest, "%s", parsing->text);
    else if (strcmp(name, "Range") == 0)
        take_range(parsing);
}

/* Block maps have none; whatever one could declare is not wanted. */
static void XMLCALL doctype_begin(void *arg, const char *name, const char *system_id,
                                  const char *public_id, int has_internal)
{
    (void)name;
    (void)system_id;
    (void)public_id;
    (void)has_internal;
    problem_set(arg, "it has a document type");
}

/* Do the numbers fit each other? */
static const char *numbers_judge(struct bmap *bmap)
{
    uint64_t mapped = 0;
    if (bmap->block_size == 0 || bmap->block_size > BLOCK_MAX || bmap->image_size == 0 ||
        bmap->block_count != (bmap->image_size + bmap->block_size - 1) / bmap->block_size)
        return "its sizes do not fit each other";
    bmap->all_checked = bmap->range_count > 0;
    for (size_t i = 0; i < bmap->range_count; i++) {
        mapped += bmap->ranges[i].last - bmap->ranges[i].first + 1;
        bmap->all_checked = bmap->all_checked && bmap->ranges[i].has_digest;
    }
    if (bmap->range_count > 0 && bmap->ranges[bmap->range_count - 1].last >= bmap->block_count)
        return "it maps blocks behind the image's end";
    if (mapped != bmap->mapped_count)
        return "its ranges do not add up to its count of mapped blocks";
    return NULL;
}

/* The map's own checksum is over its text with zeros in the checksum's place. */
static const char *own_digest_judge(const struct parsing *parsing, const uint8_t *data, size_t size)
{
    const struct bmap *bmap = parsing->bmap;
    uint8_t expected[BMAP_DIGEST_MAX], sum[EVP_MAX_MD_SIZE];
    char zeros[2 * BMAP_DIGEST_MAX];
    unsigned sum_size = 0;
    size_t digits = strlen(parsing->own_digest);
    if (bmap->digest_size == 0)
        return NULL;
    const uint8_t *place = digits > 0 ? memmem(data, size, parsing->own_digest, digits) : NULL;
    if (place == NULL || !digest_decode(bmap, parsing->own_digest, expected))
        return "its own checksum is missing";
    memset(zeros, '0', sizeof zeros);
    EVP_MD_CTX *digest = EVP_MD_CTX_new();
    bool good =
        digest != NULL &&
        EVP_DigestInit_ex(digest, EVP_get_digestbyname(bmap->digest_name), NULL) == 1 &&
        EVP_DigestUpdate(digest, data, (size_t)(place - data)) == 1 &&
        EVP_DigestUpdate(digest, zeros, digits) == 1 &&
        EVP_DigestUpdate(digest, place + digits, size - digits - (size_t)(place - data)) == 1 &&
        EVP_DigestFinal_ex(digest, sum, &sum_size) == 1 && memcmp(sum, expected, sum_size) == 0;
    EVP_MD_CTX_free(digest);
    return good ? NULL : "its own checksum does not match";
}

static void key_compute(struct bmap *bmap, const uint8_t *data, size_t size)
{
    uint8_t sum[crypto_generichash_BYTES_MIN];
    crypto_generichash(sum, sizeof sum, data, size, NULL, 0);
    sodium_bin2hex(bmap->key, sizeof bmap->key, sum, BMAP_KEY_DIGITS / 2);
}

struct bmap *bmap_parse(const char *name, const uint8_t *data, size_t size, struct error *err)
{
    struct parsing parsing = {.parser = XML_ParserCreate(NULL),
                              .bmap = calloc(1, sizeof *parsing.bmap)};
    const char *problem = "memory is short";
    if (parsing.parser == NULL || parsing.bmap == NULL ||
        (parsing.bmap->name = strdup(name)) == NULL)
        goto fail;
    XML_SetUserData(parsing.parser, &parsing);
    XML_SetElementHandler(parsing.parser, element_begin, element_end);
    XML_SetCharacterDataHandler(parsing.parser, text_append);
    XML_SetStartDoctypeDeclHandler(parsing.parser, doctype_begin);
    bool parsed =
        XML_Parse(parsing.parser, (const char *)data, (int)size, XML_TRUE) == XML_STATUS_OK;
    if (parsing.problem[0] == '\0' && !parsed)
        problem_set(&parsing, XML_ErrorString(XML_GetErrorCode(parsing.parser)));
    problem = parsing.problem[0] != '\0' ? parsing.problem : NULL;
    if (problem == NULL)
        problem = own_digest_judge(&parsing, data, size);
    if (problem == NULL)
        problem = numbers_judge(parsing.bmap);
    if (problem == NULL) {
        key_compute(parsing.bmap, data, size);
        XML_ParserFree(parsing.parser);
        return parsing.bmap;
    }
fail:
    error_set(err, ERROR_USAGE, "the block map %.180s cannot be used: %s", name, problem);
    error_remedy(err, "fetch it again, or remove it: the image is then flashed without it");
    if (parsing.parser != NULL)
        XML_ParserFree(parsing.parser);
    bmap_free(parsing.bmap);
    return NULL;
}
