/* As much of JSON as the conformance driver needs: values found by their key, texts taken
 * and made. Values are slices of the text that they stand in. */
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A text that grows; NUL-terminated. */
typedef struct {
    char *bytes;
    size_t length, room;
} Text;

static void text_append(Text *text, const char *bytes, size_t length) {
    if (text->length + length + 1 > text->room) {
        text->room = 2 * (text->length + length + 1);
        text->bytes = realloc(text->bytes, text->room);
        if (!text->bytes)
            abort();
    }
    if (length)
        memcpy(text->bytes + text->length, bytes, length);
    text->length += length;
    text->bytes[text->length] = 0;
}

static void text_format(Text *text, const char *format, ...) {
    va_list first, second;
    int length;
    char *made;
    va_start(first, format);
    va_copy(second, first);
    length = vsnprintf(NULL, 0, format, first);
    made = malloc((size_t)length + 1);
    vsnprintf(made, (size_t)length + 1, format, second);
    text_append(text, made, (size_t)length);
    free(made);
    va_end(second);
    va_end(first);
}

static void text_free(Text *text) {
    free(text->bytes);
    memset(text, 0, sizeof *text);
}

/* Appends a string of UTF-8 as JSON. */
static void text_string(Text *text, const char *bytes, size_t length) {
    size_t at;
    text_append(text, "\"", 1);
    for (at = 0; at < length; at++) {
        unsigned char byte = (unsigned char)bytes[at];
        if (byte == '"' || byte == '\\') {
            text_append(text, "\\", 1);
            text_append(text, &bytes[at], 1);
        } else if (byte < 0x20) {
            text_format(text, "\\u%04x", byte);
        } else {
            text_append(text, &bytes[at], 1);
        }
    }
    text_append(text, "\"", 1);
}

/* Appends a JSON text, in one line. */
static void text_json(Text *text, const char *json, size_t length) {
    size_t at;
    for (at = 0; at < length; at++)
        text_append(text, json[at] == '\n' || json[at] == '\r' ? " " : &json[at], 1);
}

static const char BASE64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static void text_base64(Text *text, const char *data, size_t size) {
    size_t at;
    for (at = 0; at < size; at += 3) {
        uint32_t three = (uint32_t)(unsigned char)data[at] << 16;
        char four[4];
        if (at + 1 < size)
            three |= (uint32_t)(unsigned char)data[at + 1] << 8;
        if (at + 2 < size)
            three |= (unsigned char)data[at + 2];
        four[0] = BASE64[three >> 18];
        four[1] = BASE64[three >> 12 & 63];
        four[2] = at + 1 < size ? BASE64[three >> 6 & 63] : '=';
        four[3] = at + 2 < size ? BASE64[three & 63] : '=';
        text_append(text, four, 4);
    }
}

static const char *json_space(const char *at, const char *end) {
    while (at < end && (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r'))
        at++;
    return at;
}

static const char *json_string_end(const char *at, const char *end) {
    for (at++; at < end && *at != '"'; at++) {
        if ((unsigned char)*at < 0x20)
            return NULL;
        if (*at == '\\') {
            int digits = 0;
            if (++at == end || !strchr("\"\\/bfnrtu", *at))
                return NULL;
            if (*at == 'u') {
                while (digits < 4 && at + 1 < end && strchr("0123456789abcdefABCDEF", at[1]) && at[1])
                    digits++, at++;
                if (digits < 4)
                    return NULL;
            }
        }
    }
    return at < end ? at + 1 : NULL;
}

static const char *json_digits(const char *at, const char *end) {
    const char *from = at;
    while (at < end && *at >= '0' && *at <= '9')
        at++;
    return at > from ? at : NULL;
}

static const char *json_number_end(const char *at, const char *end) {
    if (at < end && *at == '-')
        at++;
    at = at < end && *at == '0' ? at + 1 : json_digits(at, end);
    if (at && at < end && *at == '.')
        at = json_digits(at + 1, end);
    if (at && at < end && (*at == 'e' || *at == 'E')) {
        at++;
        if (at < end && (*at == '+' || *at == '-'))
            at++;
        at = json_digits(at, end);
    }
    return at;
}

/* Returns where the value that begins here ends; NULL if it is none. */
static const char *json_end(const char *at, const char *end) {
    static const char *const words[] = {"true", "false", "null"};
    size_t word;
    if (at >= end)
        return NULL;
    if (*at == '"')
        return json_string_end(at, end);
    for (word = 0; word < 3; word++) {
        size_t length = strlen(words[word]);
        if ((size_t)(end - at) >= length && memcmp(at, words[word], length) == 0)
            return at + length;
    }
    if (*at == '{' || *at == '[') {
        char close = *at == '{' ? '}' : ']';
        at = json_space(at + 1, end);
        if (at < end && *at == close)
            return at + 1;
        while (at && at < end) {
            if (close == '}') {
                if (*at != '"' || !(at = json_string_end(at, end)))
                    return NULL;
                at = json_space(at, end);
                if (at == end || *at != ':')
                    return NULL;
                at = json_space(at + 1, end);
            }
            at = json_end(at, end);
            if (!at)
                return NULL;
            at = json_space(at, end);
            if (at < end && *at == close)
                return at + 1;
            if (at == end || *at != ',')
                return NULL;
            at = json_space(at + 1, end);
        }
        return NULL;
    }
    return json_number_end(at, end);
}

static bool json_is_whole(const char *at, const char *end) {
    at = json_end(json_space(at, end), end);
    return at && json_space(at, end) == end;
}

/* Returns where the value of this key begins in an object; NULL if it has none. */
static const char *json_value(const char *object, const char *key) {
    const char *end = object + strlen(object), *at = json_space(object, end);
    size_t length = strlen(key);
    if (at == end || *at != '{')
        return NULL;
    at = json_space(at + 1, end);
    while (at < end && *at == '"') {
        const char *name = at + 1, *after = json_string_end(at, end), *value;
        if (!after)
            return NULL;
        value = json_space(json_space(after, end) + 1, end);
        if ((size_t)(after - 1 - name) == length && memcmp(name, key, length) == 0)
            return value;
        at = json_end(value, end);
        if (!at)
            return NULL;
        at = json_space(at, end);
        if (at == end || *at != ',')
            return NULL;
        at = json_space(at + 1, end);
    }
    return NULL;
}

static double json_number(const char *object, const char *key, double otherwise) {
    const char *value = json_value(object, key);
    return value && (*value == '-' || (*value >= '0' && *value <= '9')) ? strtod(value, NULL) : otherwise;
}

static bool json_is_true(const char *object, const char *key, bool otherwise) {
    const char *value = json_value(object, key);
    return value && (*value == 't' || *value == 'f') ? *value == 't' : otherwise;
}

static void text_utf8(Text *text, uint32_t point) {
    char bytes[4];
    if (point < 0x80) {
        bytes[0] = (char)point;
        text_append(text, bytes, 1);
    } else if (point < 0x800) {
        bytes[0] = (char)(0xc0 | point >> 6);
        bytes[1] = (char)(0x80 | (point & 63));
        text_append(text, bytes, 2);
    } else if (point < 0x10000) {
        bytes[0] = (char)(0xe0 | point >> 12);
        bytes[1] = (char)(0x80 | (point >> 6 & 63));
        bytes[2] = (char)(0x80 | (point & 63));
        text_append(text, bytes, 3);
    } else {
        bytes[0] = (char)(0xf0 | point >> 18);
        bytes[1] = (char)(0x80 | (point >> 12 & 63));
        bytes[2] = (char)(0x80 | (point >> 6 & 63));
        bytes[3] = (char)(0x80 | (point & 63));
        text_append(text, bytes, 4);
    }
}

static uint32_t json_hex(const char *four) {
    char digits[5] = {0};
    memcpy(digits, four, 4);
    return (uint32_t)strtoul(digits, NULL, 16);
}

/* Appends what a JSON string holds; false if it is none. */
static bool json_string_into(Text *text, const char *value) {
    static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
    const char *end = value ? json_string_end(value, value + strlen(value)) : NULL, *at;
    text_append(text, "", 0);
    if (!value || *value != '"' || !end)
        return false;
    for (at = value + 1; at < end - 1; at++) {
        if (*at != '\\') {
            text_append(text, at, 1);
        } else if (*++at == 'u') {
            uint32_t point = json_hex(at + 1);
            at += 4;
            if (point >= 0xd800 && point < 0xdc00 && at[1] == '\\' && at[2] == 'u') {
                point = 0x10000 + ((point - 0xd800) << 10) + (json_hex(at + 3) - 0xdc00);
                at += 6;
            }
            text_utf8(text, point);
        } else {
            const char *short_form = strchr(from, *at);
            text_append(text, short_form ? &to[short_form - from] : at, 1);
        }
    }
    return true;
}

/* Returns the string at this key, to be freed; NULL if there is none. */
static char *json_text(const char *object, const char *key) {
    Text text = {0};
    if (json_string_into(&text, json_value(object, key)))
        return text.bytes;
    text_free(&text);
    return NULL;
}

/* Appends the payload of an `emit`: `data`, which is base64, or `text`. */
static void json_payload(Text *payload, const char *request, bool is_base64) {
    Text text = {0};
    size_t at;
    if (!is_base64) {
        json_string_into(payload, json_value(request, "text"));
        return;
    }
    json_string_into(&text, json_value(request, "data"));
    text_append(payload, "", 0);
    for (at = 0; at + 3 < text.length; at += 4) {
        uint32_t bits = 0;
        char three[3];
        int digit, count = 3;
        for (digit = 0; digit < 4; digit++) {
            const char *found = strchr(BASE64, text.bytes[at + (size_t)digit]);
            if (!found)
                count--;
            bits = bits << 6 | (uint32_t)(found ? found - BASE64 : 0);
        }
        three[0] = (char)(bits >> 16);
        three[1] = (char)(bits >> 8);
        three[2] = (char)bits;
        text_append(payload, three, (size_t)count);
    }
    text_free(&text);
}
