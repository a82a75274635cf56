/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Encapsulated frames bent in named ways, none of which may be taken out of
 * its transport, and the counter that says so.
 */
#ifndef BAD_FRAMES_H
#define BAD_FRAMES_H

#include <shunt/shared.h>

#include "packet.h"

struct bad {
	const char *name;
	/* bends p, the frame of pkt_seg(s) and pkt_wrap() */
	void (*bend)(struct pkt *p, const struct seg *s);
	enum shunt_counter counter; /* SHUNT_CNT_MAX: none */
	int only;		    /* 4, 6 or 0: families it exists for */
};

/* Each list ends with a name of NULL. */
extern const struct bad bad_others[];	 /* not addressed to us */
extern const struct bad bad_malformed[]; /* to us, and wrong */
extern const struct bad bad_lengths[];	 /* either, it can't be said which */
extern const struct bad bad_flows[];	 /* right, but of no flow of ours */

/* Make the outer lengths those of the frame. */
void fit_outer(struct pkt *p);

#endif
