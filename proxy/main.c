/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"
#include "source/serve.h"

int main(int argc, char **argv)
{
    return cli_main(argc, argv, &(struct cli_hooks){ .serve = serve_run });
}
