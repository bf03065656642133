#error "core/ decides and does no I/O: <sqlite3.h> has no place here"
