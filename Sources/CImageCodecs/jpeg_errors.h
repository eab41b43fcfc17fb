// How JPEG's reader and writer take libjpeg's errors: back to the caller, nothing printed.
#ifndef JPEG_ERRORS_H
#define JPEG_ERRORS_H

#include <setjmp.h>
#include <stdio.h>

#include <jpeglib.h>

typedef struct {
    struct jpeg_error_mgr manager; // first: libjpeg's pointer to it is a pointer to this struct
    jmp_buf escape;
} error_trap;

static void trap_error(j_common_ptr info) {
    longjmp(((error_trap*)info->err)->escape, 1);
}

static void ignore_message(j_common_ptr info, int level) {
    // Warnings are not printed and do not fail the picture: Pillow ignores them too.
    if (level < 0) {
        info->err->num_warnings++;
    }
}

static void ignore_output(j_common_ptr info) {
    (void)info;
}

// For libjpeg's pointer `err`. Errors go to where `escape` was set.
static struct jpeg_error_mgr* trap_errors(error_trap* trap) {
    struct jpeg_error_mgr* manager = jpeg_std_error(&trap->manager);
    manager->error_exit = trap_error;
    manager->emit_message = ignore_message;
    manager->output_message = ignore_output;
    return manager;
}

#endif
