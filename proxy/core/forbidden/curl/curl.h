#error "core/ decides and does no I/O: <curl/curl.h> has no place here"
