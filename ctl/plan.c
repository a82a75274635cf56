// SPDX-License-Identifier: GPL-2.0-only
/* XDP or TC: what is decided for a device before anything is loaded. */
#include "attach.h"
#include "ctl.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Why native XDP was refused, by the error that drivers agree on. */
static const char *xdp_refusal(const struct device *dev, int err)
{
	static char text[160];
	char holder[32] = "";
	unsigned id;

	switch (err) {
	case -EBUSY:
	case -EEXIST:
		id = device_xdp_holder(dev->ifindex, holder, sizeof(holder));
		snprintf(text, sizeof(text), "XDP is taken by program %u (%s)",
			 id, holder);
		return text;
	case -EOPNOTSUPP:
		snprintf(text, sizeof(text), "driver %s offers no native XDP",
			 dev->driver[0] ? dev->driver : "(unnamed)");
		return text;
	case -ENOSPC:
		snprintf(text, sizeof(text),
			 "driver %s has too few queues for XDP", dev->driver);
		return text;
	case -ERANGE:
	case -EINVAL:
	case -EMSGSIZE:
		snprintf(text, sizeof(text),
			 "driver %s refused XDP: %s (MTU %d too large, or "
			 "GRO/LRO on)",
			 dev->driver, strerror(-err), dev->mtu);
		return text;
	default:
		snprintf(text, sizeof(text), "driver %s refused XDP: %s",
			 dev->driver, strerror(-err));
		return text;
	}
}

static const char *xdp_advice(int err)
{
	switch (err) {
	case -EBUSY:
	case -EEXIST:
		return "`ip link show` and `bpftool net` show it; remove it, "
		       "or use --ingress tc";
	default:
		return "use --ingress tc; `shunt doctor` says more";
	}
}

/* Could it be attached, as far as that is known without trying? */
static int foresee_xdp(const struct device *dev)
{
	char holder[32];

	if (device_xdp_holder(dev->ifindex, holder, sizeof(holder)))
		return -EBUSY;
	return device_native_xdp(dev) == 0 ? -EOPNOTSUPP : 0;
}

int plan_refuse_xdp(const struct device *dev, struct plan *plan, int err)
{
	const char *reason = xdp_refusal(dev, err);

	if (plan->insist)
		return shunt_err(err, "%s: %s; %s", dev->name, reason,
				 xdp_advice(err));
	plan->ingress = SHUNT_INGRESS_TC;
	snprintf(plan->why, sizeof(plan->why), "%s", reason);
	return -EAGAIN;
}

int plan_ingress(const struct device *dev, enum ingress_choice choice,
		 struct plan *plan)
{
	const char *reason;
	bool safe;
	int err;

	plan->ingress = SHUNT_INGRESS_TC;
	plan->insist = choice == INGRESS_XDP;
	safe = device_xdp_is_safe(dev, &reason);
	if (choice == INGRESS_TC)
		reason = "asked for";
	snprintf(plan->why, sizeof(plan->why), "%s", reason);
	if (choice == INGRESS_TC || (choice == INGRESS_AUTO && !safe))
		return 0;
	err = foresee_xdp(dev);
	if (err) {
		err = plan_refuse_xdp(dev, plan, err);
		return err == -EAGAIN ? 0 : err;
	}
	plan->ingress = SHUNT_INGRESS_XDP;
	if (!plan->insist)
		return 0;
	snprintf(plan->why, sizeof(plan->why), "asked for");
	if (!safe)
		shunt_warn("%s: %s: with XDP a damaged packet may pass for "
			   "intact; `ethtool -K %s rx off` is safe",
			   dev->name, reason, dev->name);
	return 0;
}
