/* SPDX-License-Identifier: Apache-2.0 */
/* `agent serve`: the agent without a machine of its own, for tests and benchmarks. */
#ifndef SERVE_H
#define SERVE_H

int serve_run(int argc, char **argv);

#endif
