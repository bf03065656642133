/* SPDX-License-Identifier: Apache-2.0 */
#include "net/refusal.h"
#include <stdio.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>
#include "core/packet.h"

size_t refusal_build(uint8_t out[REFUSAL_LEN_MAX], uint16_t mysql_errno, const char *source_id, const char *message)
{
    char text[600];
    snprintf(text, sizeof text, "sluice: source '%.64s': %s", source_id, message);
    return packet_build_error(out, REFUSAL_LEN_MAX, 0, mysql_errno, NULL, text);
}

void refusal_send_and_close(int fd, uint16_t mysql_errno, const char *source_id, const char *message)
{
    uint8_t packet[REFUSAL_LEN_MAX];
    char dropped[1024];
    size_t len = refusal_build(packet, mysql_errno, source_id, message);
    ssize_t n = send(fd, packet, len, MSG_NOSIGNAL | MSG_DONTWAIT); /* a fresh socket's buffer takes it whole */
    (void)n;
    shutdown(fd, SHUT_WR);
    for (int rounds = 0; rounds < 16 && recv(fd, dropped, sizeof dropped, MSG_DONTWAIT) > 0; rounds++) {
        /* A close with unread bytes is a RST, which takes our last words with it. */
    }
    close(fd);
}
