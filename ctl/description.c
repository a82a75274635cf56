// SPDX-License-Identifier: GPL-2.0-only
/* What a transport's object file says of itself: see description.h. */
#include "description.h"

#include "ctl.h"

#include <arpa/inet.h>
#include <errno.h>
#include <gelf.h>
#include <libelf.h>
#include <string.h>

#define SECTION "shunt.transport"

static int find_section(Elf *elf, const void **data, size_t *size)
{
	Elf_Scn *section = NULL;
	size_t names;

	if (elf_getshdrstrndx(elf, &names))
		return -EINVAL;
	while ((section = elf_nextscn(elf, section))) {
		Elf_Data *content = elf_getdata(section, NULL);
		GElf_Shdr header;
		const char *is;

		if (!gelf_getshdr(section, &header) || !content)
			return -EINVAL;
		is = elf_strptr(elf, names, header.sh_name);
		if (!is || strcmp(is, SECTION) || !content->d_buf)
			continue;
		*data = content->d_buf;
		*size = content->d_size;
		return 0;
	}
	return -ENOENT;
}

static int take_section(const char *file, Elf *elf,
			struct shunt_description *desc)
{
	const void *data;
	GElf_Ehdr header;
	__u32 abi = 0;
	size_t len;

	if (elf_kind(elf) != ELF_K_ELF || !gelf_getehdr(elf, &header))
		return shunt_err(-EINVAL, "%s: not an ELF object file", file);
	if (header.e_machine != EM_BPF)
		return shunt_err(-EINVAL,
				 "%s: not for BPF; compile it with `clang "
				 "-target bpf`",
				 file);
	if (find_section(elf, &data, &len) || len < sizeof(abi))
		return shunt_err(-EINVAL,
				 "%s: no section " SECTION ", so no transport; "
				 "SHUNT_TRANSPORT of <shunt/transport.bpf.h> "
				 "makes one",
				 file);
	memcpy(&abi, data, sizeof(abi));
	if (abi != SHUNT_ABI || len != sizeof(*desc))
		return shunt_err(-EPROTO,
				 "%s: built for version %u of "
				 "<shunt/transport.bpf.h>, and this is %u; "
				 "compile it again",
				 file, abi, SHUNT_ABI);
	memcpy(desc, data, sizeof(*desc));
	return 0;
}

int description_check_name(const char *name)
{
	size_t len = strnlen(name, SHUNT_NAME_LEN);

	if (!len || len == SHUNT_NAME_LEN ||
	    strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-_") != len)
		return shunt_err(-EINVAL,
				 "'%.*s' is no name for a transport: 1 to %d "
				 "lower case letters, digits, '-' and '_'",
				 SHUNT_NAME_LEN, name, SHUNT_NAME_LEN - 1);
	if (!strcmp(name, "tcp"))
		return shunt_err(-EINVAL, "tcp is what there is without a "
					  "transport; choose another name");
	return 0;
}

/* What the hooks leave alone, or could not tell apart. */
static int check_protocol(const char *file,
			  const struct shunt_description *desc)
{
	bool ports = desc->ip_proto == IPPROTO_UDP ||
		     desc->ip_proto == IPPROTO_UDPLITE;

	switch (desc->ip_proto) {
	case 0:	 /* hop-by-hop options */
	case 1:	 /* ICMP */
	case 6:	 /* TCP */
	case 43: /* routing header */
	case 44: /* fragment */
	case 58: /* ICMPv6 */
	case 60: /* destination options */
		return shunt_err(-EINVAL,
				 "%s: IP protocol %u cannot be a transport's",
				 file, desc->ip_proto);
	}
	if (ports == !desc->port)
		return shunt_err(-EINVAL,
				 "%s: IP protocol %u %s; see SHUNT_T_PORT",
				 file, desc->ip_proto,
				 ports ? "needs a destination port"
				       : "has no ports that are looked at");
	if (ports && desc->header_len < 8)
		return shunt_err(-EINVAL,
				 "%s: a header of %u bytes has no room for "
				 "ports, length and checksum",
				 file, desc->header_len);
	return 0;
}

static int check(const char *file, const struct shunt_description *desc)
{
	int err = description_check_name(desc->name);

	if (!err && (desc->header_len < 4 || desc->header_len > 32 ||
		     desc->header_len % 4))
		err = shunt_err(-EINVAL,
				"%s: a header of %u bytes; 4 to 32, a multiple "
				"of 4, is possible",
				file, desc->header_len);
	if (!err && desc->flags & ~(SHUNT_T_GSO | SHUNT_T_COVERAGE))
		err = shunt_err(-EINVAL, "%s: unknown flags 0x%x", file,
				desc->flags);
	if (!err)
		err = check_protocol(file, desc);
	return err;
}

int description_read(const char *file, const void *elf, size_t size,
		     struct shunt_description *desc)
{
	Elf *handle;
	int err;

	elf_version(EV_CURRENT);
	handle = elf_memory((char *)elf, size);
	if (!handle)
		return shunt_err(-EINVAL, "%s: not an ELF object file", file);
	err = take_section(file, handle, desc);
	if (!err)
		err = check(file, desc);
	elf_end(handle);
	return err;
}

/* FNV-1a, folded to 16 bits; 0 is for "none". docs/wire-format.md has it. */
__be16 description_id(const struct shunt_description *desc)
{
	__u32 hash = 2166136261u;

	for (const char *c = desc->name; *c; c++)
		hash = (hash ^ (__u8)*c) * 16777619u;
	hash = (hash ^ desc->version) * 16777619u;
	hash = (hash >> 16 ^ hash) & 0xffff;
	return htons(hash ? hash : 1);
}

int description_same_wire(const struct shunt_description *desc,
			  const struct shunt_transport *t)
{
	return desc->version == t->version && desc->ip_proto == t->ip_proto &&
	       desc->port == t->port && desc->header_len == t->header_len &&
	       desc->flags == t->flags;
}
