#error "core/ decides and does no I/O: <jansson.h> has no place here"
