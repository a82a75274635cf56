# SPDX-License-Identifier: GPL-2.0-only
# shunt: unmodified TCP applications over a lighter transport, in the kernel.
#
#   make          build everything into build/
#   make demo     the main job, on real programs (root)
#   make check    every test, on this kernel and then in QEMU on Debian's (root);
#                 QEMU=0: on this kernel only; ARGS=test_x: one file of tests
#   make check-qemu   on Debian's kernels only: KERNELS="6.1 6.12 7.3"
#   make check-asan   on this kernel, with ASan and UBSan
#   make guest KERNEL=7.3   a shell in such a guest
#   make perf     the benchmark (root); QUICK=1: a rough idea
#   make perf-qemu KERNEL=7.3   the same in a guest, emulated
#   make deps     install the Debian packages all of this needs (root)
#   make install  into $(DESTDIR)$(PREFIX)
#   make format | lint | clean

VERSION := 0.1.0
PREFIX	?= /usr/local
CC	?= gcc
CLANG	?= clang
BPFTOOL ?= $(shell command -v bpftool || echo /usr/sbin/bpftool)
B	:= build
# make SAN=address,undefined B=build/asan: with sanitizers, in a folder of its own
SAN	:=

# Short lines by default; V=1 shows the commands.
Q	:= $(if $(V),,@)
say	= $(if $(V),,@echo "  $(1)	$(or $(2),$@)")

WARN	 := -Wall -Wextra -Werror
CPPFLAGS += -Iinclude -I$(B)/include -DSHUNT_VERSION='"$(VERSION)"' \
	-DSHUNT_PREFIX='"$(PREFIX)"' -D_GNU_SOURCE
CFLAGS	 ?= -O2 -g
CFLAGS	 += -std=gnu11 $(WARN)
ifneq ($(SAN),)
# A trap instead of libubsan's words: beside libasan it knows no log_path, and a
# daemon's stderr is nowhere. ASan reports the trap, with the line.
SAN_FLAGS := -fsanitize=$(SAN) -fno-sanitize-recover=all -fno-omit-frame-pointer \
	-fsanitize-undefined-trap-on-error -fno-tree-tail-merge -fno-crossjumping
# GCC's manual: sanitizers make it warn of what is not so.
CFLAGS	 += $(SAN_FLAGS) -Wno-maybe-uninitialized
LDFLAGS	 += $(SAN_FLAGS)
endif
LIBS	 := -lbpf -ljansson -lelf -lmnl

# clang's bpf target does not search the multiarch folder for <asm/types.h>.
BPF_CFLAGS := -target bpf -mcpu=v3 -O2 -g -std=gnu11 $(WARN) -Iinclude -Ibpf \
	-I/usr/include/$(shell $(CC) -print-multiarch)

BPF_SRC	:= $(wildcard bpf/*.bpf.c)
BPF_OBJ	:= $(BPF_SRC:%.c=$(B)/%.o)
TRANSPORTS := $(patsubst bpf/transports/%.bpf.c,%,$(wildcard bpf/transports/*.bpf.c))
SKEL	:= $(B)/include/shunt.skel.h $(TRANSPORTS:%=$(B)/include/%.skel.h)

CTL_SRC	:= $(wildcard ctl/*.c)
CTL_OBJ	:= $(CTL_SRC:%.c=$(B)/%.o)
# What the tests link: everything of ctl/ but main().
CTL_LIB	:= $(filter-out $(B)/ctl/main.o,$(CTL_OBJ))

PROXY_OBJ := $(patsubst %.c,$(B)/%.o,$(wildcard uring_proxy/*.c)) $(B)/ctl/grace.o
# On a kernel that a test plays, without the real one.
PROXY_LIB := $(filter-out $(B)/uring_proxy/main.o $(B)/uring_proxy/worker.o $(B)/uring_proxy/kernel.o $(B)/ctl/grace.o,$(PROXY_OBJ)) \
	$(patsubst %.c,$(B)/%.o,$(wildcard selftests/proxy/*.c)) $(B)/selftests/packet.o
WIRE_OBJ := $(patsubst %.c,$(B)/%.o,$(wildcard testbed/*.c testbed/wire/*.c))
PERF_BIN := $(B)/perf/report $(patsubst perf/%.c,$(B)/perf/%,$(filter-out %.bpf.c,$(wildcard perf/*.c)))
JUDGE_OBJ := $(patsubst %.c,$(B)/%.o,$(wildcard perf/judge/*.c))
PERF_BPF := $(patsubst perf/%.c,$(B)/perf/%.o,$(wildcard perf/*.bpf.c))
TEST_BIN := $(patsubst selftests/%.c,$(B)/selftests/%,$(wildcard selftests/test_*.c))
PLUGINS := $(B)/docs/owd.bpf.o $(patsubst %.c,$(B)/%.o,$(wildcard selftests/plugins/*.bpf.c))
TEST_LIB := $(patsubst %.c,$(B)/%.o,$(filter-out $(wildcard selftests/test_*.c),$(wildcard selftests/*.c)))

.DELETE_ON_ERROR:
.SECONDARY:
.PHONY: all tests demo check check-qemu check-asan guest perf perf-qemu deps install \
	uninstall format lint clean

all: $(B)/shunt $(B)/shunt-proxy $(B)/testbed-wire $(PERF_BIN) $(PERF_BPF)
	@:

# ---- BPF ----

$(B)/bpf/%.bpf.o: bpf/%.bpf.c
	@mkdir -p $(@D)
	$(call say,BPF)
	$(Q)$(CLANG) $(BPF_CFLAGS) -MMD -MP -c $< -o $@

$(B)/perf/%.bpf.o: perf/%.bpf.c
	@mkdir -p $(@D)
	$(call say,BPF)
	$(Q)$(CLANG) $(BPF_CFLAGS) -MMD -MP -c $< -o $@

# The transport that docs/writing-a-transport.md writes, from what stands there.
$(B)/docs/owd.bpf.c: docs/writing-a-transport.md
	@mkdir -p $(@D)
	$(Q)sed -n '/^```c$$/,/^```$$/{/^```/d;p}' $< > $@

$(B)/docs/owd.bpf.o: $(B)/docs/owd.bpf.c
	$(call say,BPF)
	$(Q)$(CLANG) $(BPF_CFLAGS) -MMD -MP -c $< -o $@

$(B)/selftests/plugins/%.bpf.o: selftests/plugins/%.bpf.c
	@mkdir -p $(@D)
	$(call say,BPF)
	$(Q)$(CLANG) $(BPF_CFLAGS) -MMD -MP -c $< -o $@

# One object for the hooks, so that they load together or not at all.
$(B)/shunt.bpf.o: $(BPF_OBJ)
	$(call say,LINK)
	$(Q)$(BPFTOOL) gen object $@ $^

$(B)/include/shunt.skel.h: $(B)/shunt.bpf.o
	@mkdir -p $(@D)
	$(call say,SKEL)
	$(Q)$(BPFTOOL) gen skeleton $< name shunt_bpf > $@ 2>$@.err || { cat $@.err >&2; false; }

$(B)/include/%.skel.h: $(B)/bpf/transports/%.bpf.o
	@mkdir -p $(@D)
	$(call say,SKEL)
	$(Q)$(BPFTOOL) gen skeleton $< name $*_bpf > $@ 2>$@.err || { cat $@.err >&2; false; }

# ---- user space ----

$(B)/%.o: %.c | $(SKEL)
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c $< -o $@

$(B)/shunt: $(CTL_OBJ)
	$(call say,LINK)
	$(Q)$(CC) $(LDFLAGS) $^ -o $@ $(LIBS)

$(B)/shunt-proxy: $(PROXY_OBJ)
	$(call say,LINK)
	$(Q)$(CC) $(LDFLAGS) $^ -o $@ -luring -lbpf -lcap-ng

$(B)/testbed-wire: $(WIRE_OBJ)
	$(call say,LINK)
	$(Q)$(CC) $(LDFLAGS) $^ -o $@

$(B)/testbed/qemu/%: $(B)/testbed/qemu/%.o
	$(call say,LINK)
	$(Q)$(CC) $(LDFLAGS) $^ -o $@

# Neither sanitizers nor a library: it is alone in its initramfs.
$(B)/testbed/qemu/boot: testbed/qemu/boot.c
	@mkdir -p $(@D)
	$(call say,LINK)
	$(Q)$(CC) $(CPPFLAGS) -O2 -Wall -Wextra -Werror -static -s $< -o $@

$(B)/perf/report: $(JUDGE_OBJ)
	$(call say,LINK)
	$(Q)$(CC) $(LDFLAGS) $^ -o $@ $(LIBS) -lm

$(B)/perf/zerocopy: LIBS += -luring
$(B)/perf/%: $(B)/perf/%.o
	$(call say,LINK)
	$(Q)$(CC) $(LDFLAGS) $^ -o $@ $(LIBS) -lpthread

# ---- tests ----

# kselftest_harness.h comes from Debian's kernel source; it is not ours to copy
# into the repository.
KSELFTEST := $(B)/kselftest/kselftest_harness.h
$(KSELFTEST): selftests/get-harness
	selftests/get-harness $(@D)

tests: all $(TEST_BIN) $(PLUGINS) \
		$(addprefix $(B)/testbed/qemu/,boot slice tsc-khz)
	@:

$(B)/selftests/%.o: CPPFLAGS += -I$(B)/kselftest -Ictl
$(B)/selftests/%.o: selftests/%.c $(KSELFTEST) | $(SKEL)
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c $< -o $@

$(B)/selftests/%: $(B)/selftests/%.o $(TEST_LIB) $(CTL_LIB)
	$(call say,LINK)
	$(Q)$(CC) $(LDFLAGS) $^ -o $@ $(LIBS) -luring -lpthread

# These run the proxy's own code, on selftests/proxy/.
$(addprefix $(B)/selftests/test_message_,acks channel crowd cut demotion fuzz order window): %: %.o $(PROXY_LIB)
	$(call say,LINK)
	$(Q)$(CC) $(LDFLAGS) $^ -o $@ -luring -lbpf

deps:
	testbed/deps install

demo:
	@testbed/deps check || testbed/deps install
	@+$(MAKE) --no-print-directory all
	@testbed/demo $(ARGS)

# perf/README.md
perf:
	@testbed/deps check || testbed/deps install
	@+$(MAKE) --no-print-directory all $(B)/docs/owd.bpf.o
	@perf/run $(ARGS)

perf-qemu:
	@testbed/deps check || testbed/deps install
	@+$(MAKE) --no-print-directory tests
	@perf/qemu $(KERNEL) $(ARGS)

# docs/testing.md
check check-qemu:
	@testbed/deps check || testbed/deps install
	@+$(MAKE) --no-print-directory tests
	@selftests/$@ $(ARGS)

check-asan:
	@testbed/deps check || testbed/deps install
	@+$(MAKE) --no-print-directory SAN=address,undefined B=$(B)/asan tests
	@SHUNT_BUILD=$(B)/asan selftests/run $(ARGS)

KERNEL ?= 7.3
guest: tests
	@testbed/qemu/guest $(KERNEL)

install: all
	install -D -m 755 $(B)/shunt $(DESTDIR)$(PREFIX)/sbin/shunt
	install -D -m 755 $(B)/shunt-proxy $(DESTDIR)$(PREFIX)/sbin/shunt-proxy
	install -D -m 644 docs/shunt.8 $(DESTDIR)$(PREFIX)/share/man/man8/shunt.8
	install -d $(DESTDIR)$(PREFIX)/include/shunt
	install -m 644 include/shunt/*.h $(DESTDIR)$(PREFIX)/include/shunt

uninstall:
	$(RM) $(DESTDIR)$(PREFIX)/sbin/shunt $(DESTDIR)$(PREFIX)/sbin/shunt-proxy
	$(RM) $(DESTDIR)$(PREFIX)/share/man/man8/shunt.8
	$(RM) -r $(DESTDIR)$(PREFIX)/include/shunt

C_FILES = $(wildcard include/shunt/*.h bpf/*.h bpf/*.c bpf/*/*.c ctl/*.[ch] \
	uring_proxy/*.[ch] testbed/*.[ch] testbed/*/*.[ch] selftests/*.[ch] selftests/*/*.[ch] \
	perf/*.[ch] perf/*/*.[ch])

format:
	clang-format -i $(C_FILES)

# The tests proper are left to the compiler: cppcheck does not know the macros of
# the kselftest harness.
lint:
	@clang-format --dry-run -Werror $(C_FILES)
	@cppcheck --quiet --std=c11 --error-exitcode=1 --inline-suppr \
		--enable=warning,performance,portability \
		--suppress=missingIncludeSystem -Iinclude \
		'-DLIBBPF_OPTS(t,n,...)=struct t n' '-DSEC(x)=' \
		$(filter-out selftests/test_% selftests/plugins/% include/% bpf/%,$(filter %.c,$(C_FILES)))

clean:
	$(RM) -r $(B)

-include $(shell find $(B) -name '*.d' 2>/dev/null)
