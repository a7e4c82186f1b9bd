/* A CUDA runtime and driver without a GPU, for tests: "device" memory is the CPU's, and a stream holds its work back until it is synchronised.

   Device memory and pinned memory are apart, so a copy that is forgotten shows; pinned memory that is mapped is one piece with two addresses, so the wrong
   address shows. Like the real one it refuses to allocate or wait while a stream is captured, and replays a graph with what it recorded.
   STUB_DEVICES, STUB_INTEGRATED and STUB_MAPS (environment) say what the GPU is; CUDART_MAJOR (macro) which release this is. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { MOST_OPS = 64, MOST_BLOCKS = 256, LOG_BYTES = 1 << 16, PAGE = 4096 };
enum { INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NO_DEVICE = 100, INVALID_HANDLE = 400, CAPTURE_UNSUPPORTED = 900, CAPTURE_INVALIDATED = 901 };
enum { HOST, DEVICE, MAPPED };

typedef void (*host_function)(void *);
struct op { host_function function; void *data, *to; const void *from; size_t size; };
struct work { struct op ops[MOST_OPS]; int count; };
struct stream { struct work queue; struct work *captured; int broken; };
struct block { char *address, *alias; size_t size; int kind; };

static struct block blocks[MOST_BLOCKS];
static struct stream *capturing;
static char calls[LOG_BYTES], failing[64];
static int live, last_error, fail_status, fail_after;

static int setting(const char *name, int otherwise) {
    const char *text = getenv(name);
    return text ? atoi(text) : otherwise;
}

static int told(const char *name) {
    size_t length = strlen(calls);
    if (length + strlen(name) + 2 < LOG_BYTES) {
        strcpy(calls + length, name);
        strcat(calls, " ");
    }
    return strcmp(name, failing) == 0 && fail_after-- == 0 ? (last_error = fail_status) : 0;
}

static int wrong(int status) {
    return last_error = status;
}

#define ENTER() do { int status = told(__func__); if (status) return status; } while (0)
#define NOT_WHILE_CAPTURING() do { if (capturing) { capturing->broken = 1; return wrong(CAPTURE_UNSUPPORTED); } } while (0)

void stub_fail(const char *name, int status, int after) {
    strncpy(failing, name, sizeof failing - 1);
    fail_status = status;
    fail_after = after;
}
void stub_note(const char *what) { told(what); }
int stub_live(void) { return live; }
int stub_last_error(void) { return last_error; }
const char *stub_calls(void) { return calls; }
void stub_forget(void) { calls[0] = failing[0] = 0; }

static struct block *block_of(const void *address, size_t size, int device) {
    for (struct block *block = blocks; block < blocks + MOST_BLOCKS; block++) {
        const char *start = device ? block->alias : block->address;
        if (start && (const char *)address >= start && (const char *)address + size <= start + block->size && (block->kind != HOST || !device)
            && (block->kind != DEVICE || device))
            return block;
    }
    return NULL;
}
int stub_is_device(const void *address, size_t size) { return block_of(address, size, 1) != NULL; }

static int make_block(void **out, size_t size, int kind) {
    struct block *block = blocks;
    while (block < blocks + MOST_BLOCKS && block->size) block++;
    if (block == blocks + MOST_BLOCKS || size == 0) return wrong(OUT_OF_MEMORY);
    size_t whole = (size + PAGE - 1) / PAGE * PAGE;
    int file = memfd_create("stub", 0);
    if (file < 0 || ftruncate(file, (off_t)whole)) return wrong(OUT_OF_MEMORY);
    block->address = mmap(NULL, whole, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    block->alias = kind == MAPPED ? mmap(NULL, whole, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0) : block->address;
    close(file);
    memset(block->address, 0xA5, size);
    block->size = size;
    block->kind = kind;
    live++;
    *out = block->address;
    return 0;
}

static int free_block(void *address, int device) {
    NOT_WHILE_CAPTURING();
    struct block *block = block_of(address, 1, device);
    if (!block) return wrong(INVALID_VALUE);
    size_t whole = (block->size + PAGE - 1) / PAGE * PAGE;
    munmap(block->address, whole);
    if (block->kind == MAPPED) munmap(block->alias, whole);
    memset(block, 0, sizeof *block);
    live--;
    return 0;
}

static int give(struct stream *stream, struct op op) {
    struct work *work = stream->captured ? stream->captured : &stream->queue;
    if (work->count == MOST_OPS) return wrong(OUT_OF_MEMORY);
    work->ops[work->count++] = op;
    return 0;
}

const char *cudaGetErrorName(int status) {
    switch (status) {
        case 0: return "cudaSuccess";
        case INVALID_VALUE: return "cudaErrorInvalidValue";
        case OUT_OF_MEMORY: return "cudaErrorMemoryAllocation";
        case 35: return "cudaErrorInsufficientDriver";
        case NO_DEVICE: return "cudaErrorNoDevice";
        case 700: return "cudaErrorIllegalAddress";
        case CAPTURE_UNSUPPORTED: return "cudaErrorStreamCaptureUnsupported";
        case CAPTURE_INVALIDATED: return "cudaErrorStreamCaptureInvalidated";
        default: return "unrecognized error code";
    }
}
const char *cudaGetErrorString(int status) { return status == OUT_OF_MEMORY ? "out of memory" : "as the stub was told"; }
int cudaGetLastError(void) { int status = last_error; last_error = 0; return status; }

int cudaGetDeviceCount(int *count) { ENTER(); *count = setting("STUB_DEVICES", 1); return 0; }
int cudaRuntimeGetVersion(int *version) { ENTER(); *version = CUDART_MAJOR * 1000 + 40; return 0; }
int cudaSetDevice(int device) { ENTER(); return device ? wrong(INVALID_VALUE) : 0; }
int cudaDeviceGetAttribute(int *value, int attribute, int device) {
    ENTER();
    if (device) return wrong(NO_DEVICE);
    switch (attribute) {
        case 18: *value = setting("STUB_INTEGRATED", 1); return 0;
        case 19: *value = setting("STUB_MAPS", 1); return 0;
        case 75: *value = 8; return 0;
        case 76: *value = 7; return 0;
        default: return wrong(INVALID_VALUE);
    }
}
int cudaMemGetInfo(size_t *available, size_t *total) { ENTER(); *available = (size_t)3 << 30; *total = (size_t)8 << 30; return 0; }

int cudaMalloc(void **out, size_t size) { ENTER(); NOT_WHILE_CAPTURING(); return make_block(out, size, DEVICE); }
int cudaFree(void *address) { ENTER(); return free_block(address, 1); }
int cudaHostAlloc(void **out, size_t size, unsigned flags) { ENTER(); NOT_WHILE_CAPTURING(); return make_block(out, size, flags & 2 ? MAPPED : HOST); }
int cudaFreeHost(void *address) { ENTER(); return free_block(address, 0); }
int cudaHostGetDevicePointer(void **out, void *host, unsigned flags) {
    ENTER();
    struct block *block = block_of(host, 1, 0);
    if (!block || block->kind != MAPPED || flags) return wrong(INVALID_VALUE);
    *out = block->alias + ((char *)host - block->address);
    return 0;
}
int cudaMemcpyAsync(void *to, const void *from, size_t size, int kind, struct stream *stream) {
    ENTER();
    if ((kind != 1 && kind != 2) || !block_of(to, size, kind == 1) || !block_of(from, size, kind == 2)) return wrong(INVALID_VALUE);
    return give(stream, (struct op){.to = to, .from = from, .size = size});
}
int cudaLaunchHostFunc(struct stream *stream, host_function function, void *data) { ENTER(); return give(stream, (struct op){.function = function, .data = data}); }

int cudaStreamCreateWithFlags(struct stream **out, unsigned flags) {
    ENTER();
    if (flags != 1) return wrong(INVALID_VALUE);
    *out = calloc(1, sizeof **out);
    live++;
    return 0;
}
int cudaStreamDestroy(struct stream *stream) { ENTER(); free(stream); live--; return 0; }
int cudaStreamSynchronize(struct stream *stream) {
    ENTER();
    NOT_WHILE_CAPTURING();
    for (struct op *op = stream->queue.ops; op < stream->queue.ops + stream->queue.count; op++) {
        if (op->function) op->function(op->data);
        else memcpy(op->to, op->from, op->size);
    }
    stream->queue.count = 0;
    return 0;
}
int cudaStreamIsCapturing(struct stream *stream, int *status) { *status = stream->captured != NULL; return 0; }
int cudaStreamBeginCapture(struct stream *stream, int mode) {
    ENTER();
    if (mode != 1 || capturing) return wrong(INVALID_VALUE);
    stream->captured = calloc(1, sizeof *stream->captured);
    stream->broken = 0;
    capturing = stream;
    return 0;
}
int cudaStreamEndCapture(struct stream *stream, struct work **graph) {
    int status = told(__func__);
    struct work *captured = stream->captured;
    if (!captured) return wrong(INVALID_VALUE);
    stream->captured = NULL;
    capturing = NULL;
    *graph = NULL;
    if (status || stream->broken) {
        free(captured);
        return wrong(status ? status : CAPTURE_INVALIDATED);
    }
    *graph = captured;
    live++;
    return 0;
}
#if CUDART_MAJOR < 12
int cudaGraphInstantiate(struct work **out, struct work *graph, void *error_node, char *text, size_t size) {
    ENTER();
    if (error_node || text || size) return wrong(INVALID_VALUE);
#else
int cudaGraphInstantiate(struct work **out, struct work *graph, unsigned long long flags) {
    ENTER();
    if (flags) return wrong(INVALID_VALUE);
#endif
    *out = malloc(sizeof **out);
    memcpy(*out, graph, sizeof **out);
    live++;
    return 0;
}
int cudaGraphLaunch(struct work *executable, struct stream *stream) {
    ENTER();
    for (int at = 0; at < executable->count; at++) {
        int status = give(stream, executable->ops[at]);
        if (status) return status;
    }
    return 0;
}
int cudaGraphExecDestroy(struct work *executable) { ENTER(); free(executable); live--; return 0; }
int cudaGraphDestroy(struct work *graph) { ENTER(); free(graph); live--; return 0; }

int cuInit(unsigned flags) { return flags ? INVALID_VALUE : told(__func__); }
int cuDeviceGet(int *device, int ordinal) { ENTER(); *device = ordinal; return 0; }
int cuDeviceGetName(char *name, int size, int device) {
    ENTER();
    if (device || size < 8) return INVALID_VALUE;
    strcpy(name, "Orin");
    return 0;
}
