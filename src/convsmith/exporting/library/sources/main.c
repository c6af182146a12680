/* Runs the network on files.
 *
 *     main [-w weights.bin] [-n RUNS] INPUT... [-o OUTPUT...]
 *
 * -n runs it so many times after a first time, and prints milliseconds per run.
 * An input is raw float32 in the order of net.h, or a picture in PPM or PGM (P6, P5), whose values
 * become 0 to 1 and which is scaled to the network's size by the nearest pixel. Outputs are written
 * as raw float32; without -o the largest value of each is printed.
 */
#define _POSIX_C_SOURCE 199309L
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "net.h"

static const int dims[NET_INPUTS] = NET_INPUT_DIMS;
static const int shapes[NET_INPUTS][NET_MAX_DIMS] = NET_INPUT_SHAPES;
static const size_t input_sizes[NET_INPUTS] = NET_INPUT_SIZES;
static const size_t output_sizes[NET_OUTPUTS] = NET_OUTPUT_SIZES;
static const char *const output_names[NET_OUTPUTS] = NET_OUTPUT_NAMES;

static void fail(const char *what, const char *which) {
    fprintf(stderr, "%s: %s\n", which, what);
    exit(1);
}

/* The next number of a header, after white space and comments. */
static int number(FILE *file, const char *name) {
    int c = fgetc(file), value = 0, digits = 0;
    while (c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '#') {
        if (c == '#')
            while (c != '\n' && c != EOF) c = fgetc(file);
        c = fgetc(file);
    }
    for (; c >= '0' && c <= '9' && digits < 6; digits++, c = fgetc(file)) value = 10 * value + c - '0';
    if (!digits) fail("not a picture in PPM or PGM", name);
    return value;
}

static void read_picture(FILE *file, const char *name, int colours, int which, float *values) {
    int width = number(file, name), height = number(file, name), most = number(file, name);
    if (dims[which] != 4 || shapes[which][1] != colours)
        fail("the network takes another number of channels", name);
    if (width < 1 || height < 1 || most < 1 || most > 255) fail("not 8 bits per value", name);
    size_t bytes = (size_t)width * (size_t)height * (size_t)colours;
    unsigned char *pixels = malloc(bytes);
    if (!pixels || fread(pixels, 1, bytes, file) != bytes) fail("ends too early", name);
    int rows = shapes[which][2], columns = shapes[which][3];
    for (int image = 0; image < shapes[which][0]; image++)
        for (int c = 0; c < colours; c++)
            for (int y = 0; y < rows; y++)
                for (int x = 0; x < columns; x++) {
                    size_t from_y = (size_t)y * (size_t)height / (size_t)rows;
                    size_t from_x = (size_t)x * (size_t)width / (size_t)columns;
                    size_t at = (from_y * (size_t)width + from_x) * (size_t)colours + (size_t)c;
                    *values++ = (float)pixels[at] / (float)most;
                }
    free(pixels);
}

static float *read_input(const char *name, int which) {
    float *values = malloc((input_sizes[which] + 1) * sizeof *values);
    FILE *file = fopen(name, "rb");
    if (!values || !file) fail("cannot be read", name);
    int kind[2] = {fgetc(file), fgetc(file)};
    if (kind[0] == 'P' && (kind[1] == '6' || kind[1] == '5')) {
        read_picture(file, name, kind[1] == '6' ? 3 : 1, which, values);
    } else {
        rewind(file);
        if (fread(values, sizeof *values, input_sizes[which] + 1, file) != input_sizes[which])
            fail("has not as many values as the network takes", name);
    }
    fclose(file);
    return values;
}

/* Read here; a program that keeps large weights would rather map the file. */
static void *read_weights(const char *name) {
    void *weights = aligned_alloc(64, (NET_WEIGHTS_BYTES + 63) / 64 * 64);
    FILE *file = fopen(name, "rb");
    if (!weights || !file) fail("cannot be read", name);
    if (fread(weights, 1, NET_WEIGHTS_BYTES, file) != NET_WEIGHTS_BYTES || fgetc(file) != EOF)
        fail("is not the weights of this network", name);
    fclose(file);
    return weights;
}

static void write_output(const char *name, const float *values, size_t count) {
    FILE *file = fopen(name, "wb");
    if (!file || fwrite(values, sizeof *values, count, file) != count || fclose(file))
        fail("cannot be written", name);
}

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

int main(int count, char **words) {
    const char *sources[NET_INPUTS] = {0}, *targets[NET_OUTPUTS] = {0};
    const char *file = NULL;
    int given = 0, written = 0, writing = 0;
    long runs = 0; /* that are timed */
    int times = 0;
    for (int i = 1; i < count; i++) {
        if (!strcmp(words[i], "-w") && i + 1 < count) file = words[++i];
        else if (!strcmp(words[i], "-n") && i + 1 < count) runs = strtol(words[++i], NULL, 10), times = 1;
        else if (!strcmp(words[i], "-o")) writing = 1;
        else if (!writing && given < NET_INPUTS) sources[given++] = words[i];
        else if (writing && written < NET_OUTPUTS) targets[written++] = words[i];
        else given = NET_INPUTS + 1;
    }
    if (given != NET_INPUTS || (writing && written != NET_OUTPUTS) || runs < times) {
        fprintf(stderr, "usage: %s [-w weights.bin] [-n RUNS] INPUT... [-o OUTPUT...]\n", words[0]);
        fprintf(stderr, "inputs: %d, outputs: %d\n", NET_INPUTS, NET_OUTPUTS);
        return 2;
    }
    if (!net_supported()) fail("this processor lacks the instructions", words[0]);
    void *weights = file ? read_weights(file) : NULL;
    net *n = net_create(weights);
    if (!n) fail("no memory, or weights of another network", words[0]);
    const float *inputs[NET_INPUTS];
    float *outputs[NET_OUTPUTS];
    for (int i = 0; i < NET_INPUTS; i++) inputs[i] = read_input(sources[i], i);
    for (int i = 0; i < NET_OUTPUTS; i++) {
        outputs[i] = malloc(output_sizes[i] * sizeof **outputs);
        if (!outputs[i]) fail("no memory", words[0]);
    }
    /* What is timed is not the first run, which brings code and weights into memory. */
    double start = seconds();
    for (long run = -1; run < runs; run++) {
        if (run == 0) start = seconds();
        if (net_run(n, inputs, outputs)) fail("a kernel failed", words[0]);
    }
    if (times) printf("%.3f ms per run\n", 1000 * (seconds() - start) / (double)runs);
    for (int i = 0; i < NET_OUTPUTS; i++) {
        if (targets[i]) {
            write_output(targets[i], outputs[i], output_sizes[i]);
            continue;
        }
        size_t best = 0;
        for (size_t k = 1; k < output_sizes[i]; k++)
            if (outputs[i][k] > outputs[i][best]) best = k;
        printf("%s: %zu values, the largest is number %zu: %g\n", output_names[i], output_sizes[i],
               best, (double)outputs[i][best]);
    }
    for (int i = 0; i < NET_INPUTS; i++) free((void *)inputs[i]);
    for (int i = 0; i < NET_OUTPUTS; i++) free(outputs[i]);
    net_destroy(n);
    free(weights);
    return 0;
}
