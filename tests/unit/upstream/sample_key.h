/* SPDX-License-Identifier: Apache-2.0 */
/* sample_key.h - a public RSA key whose private half nobody has kept. */
#pragma once
static const char sample_key[] = "-----BEGIN PUBLIC KEY-----\n"
                                 "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA7JbbzOy2JJgHVwWyhPIZ\n"
                                 "ID7zPLOy88pjgHNMm6TT+7bQUWTaza60XrT0s88O0Io1GwgNdKdU9kk7/MmiYo6G\n"
                                 "Of63uACZ3uP39/IfXwTW1nbWg/dFk29gZUVHNVFU6yY+avTD/b8euo/88lydNnmF\n"
                                 "L/XPhYlUsqygjSNhKZfjy/UvRwagdEhTXdS9ucrEwAczR6As+wa1TS6/9lv1w4gl\n"
                                 "/AXa+JfWES/5UxQXWaOrrRfGoHtan7i8PJ9WxQF5xarMddJ80l5STyv/GrvKNCm5\n"
                                 "eNHAVH+bpOLdpQoP/ZXD+X26G4Li8QtCozwf2AZzKuVpRk5Ltbf6gNjyITCSMG2H\n"
                                 "vQIDAQAB\n"
                                 "-----END PUBLIC KEY-----\n";
