// SPDX-License-Identifier: GPL-2.0-only
/* shunt, the program. All of it but this is in the tests, too. */
#include "ctl.h"

int main(int argc, char **argv)
{
	return shunt_main(argc, argv);
}
