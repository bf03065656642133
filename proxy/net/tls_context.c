/* SPDX-License-Identifier: Apache-2.0 */
/* Certificates, keys and CAs: read, judged, and made into what a handshake begins with. */
#include "net/tls_context.h"
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <mbedtls/error.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#if MBEDTLS_VERSION_NUMBER >= 0x03000000
#include <psa/crypto.h>
#endif
#include "base/log.h"
#include "core/error.h"
#include "core/mem.h"
#include "core/text.h"

enum {
    KEY_FILE_LEN_MAX = 65536,
    TICKET_LIFETIME_S = 3600,
};

static int fail(struct text *out_error, const char *key, const char *path, const char *reason)
{
    text_printf(out_error, "%s: %s: %s", key, path, reason);
    return SLUICE_ERR_CONFIG;
}

static int fail_code(struct text *out_error, const char *key, const char *path, int code)
{
    char reason[160];
    mbedtls_strerror(code, reason, sizeof reason);
    return fail(out_error, key, path, reason);
}

static int load_certificates(mbedtls_x509_crt *out, const char *key, const char *path, struct text *out_error)
{
    if (access(path, R_OK) != 0) return fail(out_error, key, path, strerror(errno));
    int rv = mbedtls_x509_crt_parse_file(out, path);
    if (rv < 0) return fail_code(out_error, key, path, rv);
    return rv == 0 ? 0 : fail(out_error, key, path, "not all of its certificates can be read");
}

/* The descriptor is looked at, not the path: what is judged is what is read. */
static int read_key(const char *path, unsigned char *out, size_t *out_len, const char **out_reason)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    *out_reason = fd < 0 || fstat(fd, &st) != 0 ? strerror(errno) : NULL;
    if (*out_reason == NULL && (!S_ISREG(st.st_mode) || st.st_size >= KEY_FILE_LEN_MAX))
        *out_reason = "is no file with a private key";
    if (*out_reason == NULL && (st.st_mode & 077) != 0)
        *out_reason = "others than its owner have access; run chmod 600";
    ssize_t n = *out_reason == NULL ? read(fd, out, KEY_FILE_LEN_MAX - 1) : 0;
    if (n < 0) *out_reason = strerror(errno);
    if (fd >= 0) close(fd);
    if (*out_reason != NULL) return SLUICE_ERR_CONFIG;
    out[n] = '\0';
    *out_len = (size_t)n + 1; /* PEM is told by its NUL */
    return 0;
}

static int parse_key(struct tls_context *c, mbedtls_pk_context *out, const unsigned char *bytes, size_t len)
{
#if MBEDTLS_VERSION_NUMBER >= 0x03000000
    return mbedtls_pk_parse_key(out, bytes, len, NULL, 0, mbedtls_ctr_drbg_random, &c->random);
#else
    (void)c;
    return mbedtls_pk_parse_key(out, bytes, len, NULL, 0);
#endif
}

static int check_pair(struct tls_context *c, struct identity *id)
{
#if MBEDTLS_VERSION_NUMBER >= 0x03000000
    return mbedtls_pk_check_pair(&id->cert.pk, &id->key, mbedtls_ctr_drbg_random, &c->random);
#else
    (void)c;
    return mbedtls_pk_check_pair(&id->cert.pk, &id->key);
#endif
}

static int load_key(struct tls_context *c, mbedtls_pk_context *out, const char *key, const char *path,
                    struct text *out_error)
{
    const char *reason = NULL;
    size_t len = 0;
    unsigned char *bytes = mem_alloc(KEY_FILE_LEN_MAX);
    if (bytes == NULL) return SLUICE_ERR_NOMEM;
    int rv = read_key(path, bytes, &len, &reason);
    if (rv != 0) {
        rv = fail(out_error, key, path, reason);
    } else {
        int code = parse_key(c, out, bytes, len);
        if (code != 0) rv = fail_code(out_error, key, path, code);
    }
    explicit_bzero(bytes, KEY_FILE_LEN_MAX);
    mem_free(bytes);
    return rv;
}

/* |keys| are the configuration's words for the certificate and its key. */
static int load_identity(struct tls_context *c, struct identity *id, const char *const keys[2], const char *cert,
                         const char *key, struct text *out_error)
{
    int rv = load_certificates(&id->cert, keys[0], cert, out_error);
    if (rv == 0) rv = load_key(c, &id->key, keys[1], key, out_error);
    if (rv == 0 && check_pair(c, id) != 0) rv = fail(out_error, keys[1], key, "is not the key of the certificate");
    if (rv == 0 && mbedtls_x509_time_is_past(&id->cert.valid_to) != 0)
        log_warn("a certificate of ours has expired: whoever verifies it will refuse it", LOG_STR("key", keys[0]),
                 LOG_STR("file", cert));
    return rv;
}

static int configure(struct tls_context *c, mbedtls_ssl_config *conf, int endpoint)
{
    if (mbedtls_ssl_config_defaults(conf, endpoint, MBEDTLS_SSL_TRANSPORT_STREAM, MBEDTLS_SSL_PRESET_DEFAULT) != 0)
        return SLUICE_ERR_NOMEM;
    mbedtls_ssl_conf_rng(conf, mbedtls_ctr_drbg_random, &c->random);
#if MBEDTLS_VERSION_NUMBER >= 0x03020000
    mbedtls_ssl_conf_min_tls_version(conf, MBEDTLS_SSL_VERSION_TLS1_2);
#else
    mbedtls_ssl_conf_min_version(conf, MBEDTLS_SSL_MAJOR_VERSION_3, MBEDTLS_SSL_MINOR_VERSION_3);
#endif
    return 0;
}

static int configure_accept(struct tls_context *c, const struct tls_files *files)
{
    int rv = configure(c, &c->accept, MBEDTLS_SSL_IS_SERVER);
    if (rv != 0) return rv;
    mbedtls_ssl_conf_authmode(&c->accept, files->ca != NULL ? MBEDTLS_SSL_VERIFY_REQUIRED : MBEDTLS_SSL_VERIFY_NONE);
    if (mbedtls_ssl_ticket_setup(&c->tickets, mbedtls_ctr_drbg_random, &c->random, MBEDTLS_CIPHER_AES_256_GCM,
                                 TICKET_LIFETIME_S) != 0)
        return SLUICE_ERR_NOMEM;
    mbedtls_ssl_conf_session_tickets_cb(&c->accept, mbedtls_ssl_ticket_write, mbedtls_ssl_ticket_parse, &c->tickets);
    if (files->ca != NULL) mbedtls_ssl_conf_ca_chain(&c->accept, &c->client_ca, NULL);
    return mbedtls_ssl_conf_own_cert(&c->accept, &c->server.cert, &c->server.key) == 0 ? 0 : SLUICE_ERR_NOMEM;
}

static int configure_connect(struct tls_context *c, const struct tls_files *files)
{
    int rv = configure(c, &c->connect, MBEDTLS_SSL_IS_CLIENT);
    if (rv != 0) return rv;
    mbedtls_ssl_conf_authmode(&c->connect, MBEDTLS_SSL_VERIFY_REQUIRED);
    mbedtls_ssl_conf_ca_chain(&c->connect, &c->backend_ca, NULL);
#if MBEDTLS_VERSION_NUMBER >= 0x03060100 && defined(MBEDTLS_SSL_PROTO_TLS1_3) && defined(MBEDTLS_SSL_SESSION_TICKETS)
    mbedtls_ssl_conf_tls13_enable_signal_new_session_tickets(&c->connect,
                                                             MBEDTLS_SSL_TLS1_3_SIGNAL_NEW_SESSION_TICKETS_ENABLED);
#endif
    if (files->backend_cert == NULL) return 0;
    return mbedtls_ssl_conf_own_cert(&c->connect, &c->client.cert, &c->client.key) == 0 ? 0 : SLUICE_ERR_NOMEM;
}

static int load_all(struct tls_context *c, const struct tls_files *files, struct text *out_error)
{
    static const char *const server_keys[] = { "tls.cert", "tls.key" };
    static const char *const client_keys[] = { "tls.backend-cert", "tls.backend-key" };
    int rv = load_identity(c, &c->server, server_keys, files->cert, files->key, out_error);
    if (rv == 0 && files->ca != NULL) rv = load_certificates(&c->client_ca, "tls.ca", files->ca, out_error);
    if (rv == 0) rv = load_certificates(&c->backend_ca, "tls.backend-ca", files->backend_ca, out_error);
    if (rv == 0 && files->backend_cert != NULL)
        rv = load_identity(c, &c->client, client_keys, files->backend_cert, files->backend_key, out_error);
    if (rv == 0) rv = configure_accept(c, files);
    if (rv == 0) rv = configure_connect(c, files);
    return rv;
}

static void init_all(struct tls_context *c)
{
    mbedtls_entropy_init(&c->entropy);
    mbedtls_ctr_drbg_init(&c->random);
    mbedtls_x509_crt_init(&c->server.cert);
    mbedtls_x509_crt_init(&c->client.cert);
    mbedtls_x509_crt_init(&c->client_ca);
    mbedtls_x509_crt_init(&c->backend_ca);
    mbedtls_pk_init(&c->server.key);
    mbedtls_pk_init(&c->client.key);
    mbedtls_ssl_config_init(&c->accept);
    mbedtls_ssl_config_init(&c->connect);
    mbedtls_ssl_ticket_init(&c->tickets);
}

int tls_context_new(const struct tls_files *files, struct tls_context **out, struct text *out_error)
{
    assert(files->cert != NULL && files->key != NULL && files->backend_ca != NULL);
    assert((files->backend_cert == NULL) == (files->backend_key == NULL));
    struct tls_context *c = mem_calloc(1, sizeof *c);
    if (c == NULL) return SLUICE_ERR_NOMEM;
    c->references = 1;
    c->verify_name = files->verify_name;
    init_all(c);
    int rv = 0;
#if MBEDTLS_VERSION_NUMBER >= 0x03000000
    if (psa_crypto_init() != PSA_SUCCESS) rv = SLUICE_ERR_NOMEM; /* TLS 1.3 is built on it */
#endif
    if (rv == 0 && mbedtls_ctr_drbg_seed(&c->random, mbedtls_entropy_func, &c->entropy, NULL, 0) != 0)
        rv = SLUICE_ERR_NOMEM;
    if (rv == 0) rv = load_all(c, files, out_error);
    if (rv != 0) {
        tls_context_unref(c);
        return rv;
    }
    *out = c;
    return 0;
}

struct tls_context *tls_context_ref(struct tls_context *c)
{
    assert(c->references > 0);
    c->references++;
    return c;
}

void tls_context_unref(struct tls_context *c)
{
    if (c == NULL) return;
    assert(c->references > 0);
    if (--c->references > 0) return;
    for (size_t i = 0; i < TLS_PEERS_MAX; i++)
        if (c->has_session[i]) mbedtls_ssl_session_free(&c->sessions[i]);
    mbedtls_ssl_config_free(&c->accept);
    mbedtls_ssl_config_free(&c->connect);
    mbedtls_ssl_ticket_free(&c->tickets);
    mbedtls_pk_free(&c->server.key);
    mbedtls_pk_free(&c->client.key);
    mbedtls_x509_crt_free(&c->server.cert);
    mbedtls_x509_crt_free(&c->client.cert);
    mbedtls_x509_crt_free(&c->client_ca);
    mbedtls_x509_crt_free(&c->backend_ca);
    mbedtls_ctr_drbg_free(&c->random);
    mbedtls_entropy_free(&c->entropy);
    mem_free(c);
}

int64_t tls_unix_of(const mbedtls_x509_time *t)
{
    struct tm tm = { .tm_year = t->year - 1900,
                     .tm_mon = t->mon - 1,
                     .tm_mday = t->day,
                     .tm_hour = t->hour,
                     .tm_min = t->min,
                     .tm_sec = t->sec };
    return timegm(&tm);
}

int64_t tls_context_expires_unix(const struct tls_context *c)
{
    return tls_unix_of(&c->server.cert.valid_to);
}
