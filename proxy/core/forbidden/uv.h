#error "core/ decides and does no I/O: <uv.h> has no place here"
