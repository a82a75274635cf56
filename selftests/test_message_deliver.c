// SPDX-License-Identifier: GPL-2.0-only
/* The SK_MSG program on the redirection socket: what it takes from the proxy,
 * and what it refuses. */
#include "message_fixture.h"

#include <sys/uio.h>

static struct shunt_record record(uint32_t length)
{
	return (struct shunt_record){.magic = SHUNT_RECORD_MAGIC,
				     .stream = STREAM,
				     .length = length,
				     .token = TOKEN};
}

/* Several records in one send, of sizes around pages and sk_msg's limits. */
TEST_F(message, each_header_governs_its_own_bytes)
{
	static const uint32_t sizes[] = {1,	4095, 4096,  4097,   65536,
					 65537, 1400, 17,    262144, 300000,
					 23,	24,   32768, 32769,  2};
	static uint8_t sent[1 << 20], got[1 << 20];
	struct iovec iov[2 * ARRAY_SIZE(sizes)];
	struct shunt_record rec[ARRAY_SIZE(sizes)];
	struct msghdr m = {.msg_iov = iov};
	size_t payload = 0, whole = 0;

	fill(sent, sizeof(sent), 5);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		rec[i] = record(sizes[i]);
		iov[m.msg_iovlen++] = (struct iovec){&rec[i], sizeof(rec[i])};
		iov[m.msg_iovlen++] = (struct iovec){sent + payload, sizes[i]};
		payload += sizes[i];
		whole += sizes[i] + sizeof(rec[i]);
	}
	ASSERT_LE(payload, sizeof(sent));
	EXPECT_EQ(whole, sendmsg(self->proxy_in, &m, 0));
	EXPECT_EQ(payload, drain(self->app, got, sizeof(got)));
	EXPECT_EQ(0, memcmp(sent, got, payload));
	EXPECT_TRUE(quiet(self->other));
}

/* One header, and the payload in many small pieces, as datagrams leave it. */
TEST_F(message, a_header_and_many_pieces)
{
	static uint8_t sent[400 * 997], got[sizeof(sent)];
	struct shunt_record rec = record(sizeof(sent));
	struct iovec iov[401] = {{&rec, sizeof(rec)}};
	struct msghdr m = {.msg_iov = iov, .msg_iovlen = 401};

	fill(sent, sizeof(sent), 6);
	for (int i = 0; i < 400; i++)
		iov[1 + i] = (struct iovec){sent + 997 * i, 997};
	EXPECT_EQ(sizeof(sent) + sizeof(rec), sendmsg(self->proxy_in, &m, 0));
	EXPECT_EQ(sizeof(sent), drain(self->app, got, sizeof(got)));
	EXPECT_EQ(0, memcmp(sent, got, sizeof(sent)));
}

/* Nothing reaches the application, the proxy is told, one byte comes out at the
 * far end; and the next good record is delivered. */
TEST_F(message, bad_records_are_refused)
{
	static struct {
		struct shunt_record r;
		char text[40000];
	} __attribute__((packed)) rec;
	static char got[50000];

	fill((uint8_t *)rec.text, sizeof(rec.text), 7);
	for (int i = 0; i < 9; i++) {
		__u32 index = STREAM, cut = get_proxy(&self->r).cut;
		size_t size = sizeof(rec);

		rec.r = record(sizeof(rec.text));
		switch (i) {
		case 0:
			rec.r.magic ^= 1;
			break;
		case 1:
			rec.r.stream = 0;
			break;
		case 2:
			rec.r.stream = RIG_STREAMS + 1;
			break;
		case 3:
			rec.r.stream = STREAM + 1; /* not open */
			break;
		case 4:
			rec.r.token ^= 0x80000000;
			break;
		case 5:
			rec.r.length = 0;
			break;
		case 6:
			size = sizeof(rec.r) - 1;
			break;
		case 7: /* its connection has ended … */
			self->st.life = SHUNT_STREAM_CLOSED;
			put_stream(&self->r, &self->st);
			break;
		case 8: /* … or its socket has just gone */
			bpf_map_delete_elem(MAP_FD(&self->r, message_socks),
					    &index);
			break;
		}
		EXPECT_EQ(size, send(self->proxy_in, &rec, size, 0));
		EXPECT_EQ(1, drain(self->other, got, sizeof(got)))
		TH_LOG("case %d", i);
		EXPECT_TRUE(quiet(self->app));
		/* With a number that can't be there is no loop to tell; what
		 * is no record is the rest of one that was cut. */
		EXPECT_EQ(i == 0 || i == 6, get_proxy(&self->r).cut != cut)
		TH_LOG("case %d", i);
		EXPECT_EQ(i != 0 && i != 2 && i != 6,
			  !!event_get(&self->r, &(struct shunt_event){}, NULL))
		TH_LOG("case %d", i);
		EXPECT_NO_EVENT();

		self->st.life = SHUNT_STREAM_OPEN;
		put_stream(&self->r, &self->st);
		if (i == 8)
			break;
		rec.r = record(sizeof(rec.text));
		EXPECT_EQ(sizeof(rec),
			  send(self->proxy_in, &rec, sizeof(rec), 0));
		EXPECT_EQ(sizeof(rec.text), drain(self->app, got, sizeof(got)));
		EXPECT_EQ(0, memcmp(rec.text, got, sizeof(rec.text)));
		EXPECT_TRUE(quiet(self->other));
	}
}

RIG_HARNESS_MAIN(8)
