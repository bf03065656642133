#error "core/ decides and does no I/O: <microhttpd.h> has no place here"
