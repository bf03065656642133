#error "core/ decides and does no I/O: <mysql.h> has no place here"
