//go:build ignore

// The tap: two programs on a cgroup that see every packet which its sockets send and receive, from the IP header on.
// A packet that is sent is recorded whole. A packet that is received is recorded whole as well, unless its sender's
// record has the payload already; then the headers are enough.
#include "vmlinux.h"
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define DIR_IN 1
#define DIR_OUT 2
#define TCP 6
#define UDP 17
#define TCP_LISTEN 10
#define MAX_DATA (65535 + 40) // an IPv6 packet without jumbo payload
#define SMALL 96              // so little payload costs less than finding out whether it is needed

const volatile __u32 wake_bytes = 64 * 1024; // wake the reader when so much waits
const volatile __u32 headers_only = 1;       // leave payload out where the sender's record has it
const volatile __u32 snap = MAX_DATA;
const volatile __u32 ingress = 1; // record received packets at all

const volatile __u32 choosy = 0;  // ask choices and ports what to record

// Shared with the reader, which sets it before it sleeps.
volatile __u32 asleep;

// Counts changes of choices and ports: what was concluded from older ones is looked at again.
volatile __u32 generation;
volatile __u32 some_ports; // ports is not empty

struct event {
	__u64 time; // bpf_ktime_get_ns
	__u64 cgroup;
	__u64 cookie;
	__u32 pid;
	__u32 length; // of the packet
	__u32 captured;
	__u32 direction;
	__u8 data[];
};

struct flow {
	__u8 src[16];
	__u8 dst[16];
	__be16 sport;
	__be16 dport;
};

struct lost_key {
	__u64 cgroup;
	struct flow flow;
	__u32 proto;
	__u32 direction;
	__u32 pad;
};

// What is known of a socket. It is cloned from a listener to the sockets that it accepts.
struct socket {
	__u32 pid;  // process that made it
	__u32 peer; // 0 not known yet, or one of the below, above the generation
};
#define PEER_TAPPED 1
#define PEER_FOREIGN 2
#define PEER_BITS 2

#define IGNORE 1
#define CAPTURE 2
#define MAX_DEPTH 16

// What is concluded of a cgroup.
struct conclusion {
	__u32 generation;
	__u32 choice;
};

struct process {
	char comm[16];
};

const struct event *unused_event __attribute__((unused));
const struct lost_key *unused_lost_key __attribute__((unused));

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 16 << 20);
} packets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_CLONE);
	__type(key, int);
	__type(value, struct socket);
} sockets SEC(".maps");

// SYN and SYN-ACK segments that were recorded when they were sent, with their sequence number.
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct flow);
	__type(value, __u32);
} openings SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct lost_key);
	__type(value, __u64);
} lost SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} lost_total SEC(".maps");

// IGNORE or CAPTURE by cgroup, for its sockets and those of the groups below that have no choice of their own.
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u64);
	__type(value, __u32);
} choices SEC(".maps");

// What follows from choices, so that ancestors are walked once.
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, __u64);
	__type(value, struct conclusion);
} conclusions SEC(".maps");

// Ports to which TCP and UDP are restricted, as in the packet.
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __be16);
	__type(value, __u8);
} ports SEC(".maps");

// Names of the processes that made sockets, by their number in the outermost namespace.
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 2048);
	__type(key, __u32);
	__type(value, struct process);
} processes SEC(".maps");

// What the program reads of a packet's headers.
struct headers {
	struct flow flow;
	__u32 proto; // 0 when the headers could not be read
	__u32 size;  // IP and TCP headers together
	__u32 seq;
	__u8 flags;
};
#define FLAG_SYN 2

static __always_inline void set_ip4(__u8 *to, __be32 addr)
{
	__builtin_memset(to, 0, 8);
	*(__u32 *)(to + 8) = bpf_htonl(0xffff);
	*(__be32 *)(to + 12) = addr;
}

// bounds checks against data_end are what the verifier goes by.
static __always_inline void parse(struct __sk_buff *skb, struct headers *h, int addresses)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	__u8 *ip = data, *l4;

	h->proto = 0;
	if (data + 40 > end) // also enough for every IPv4 TCP packet
		return;
	if (ip[0] == 0x45) {
		if (*(__be16 *)(ip + 6) & bpf_htons(0x3fff)) // a fragment
			return;
		h->proto = ip[9];
		h->size = 20;
		l4 = ip + 20;
		if (addresses) {
			set_ip4(h->flow.src, *(__be32 *)(ip + 12));
			set_ip4(h->flow.dst, *(__be32 *)(ip + 16));
		}
	} else if (ip[0] >> 4 == 6) {
		if (data + 60 > end)
			return;
		h->proto = ip[6];
		h->size = 40;
		l4 = ip + 40;
		if (addresses) {
			__builtin_memcpy(h->flow.src, ip + 8, 16);
			__builtin_memcpy(h->flow.dst, ip + 24, 16);
		}
	} else {
		return;
	}
	h->flow.sport = *(__be16 *)l4;
	h->flow.dport = *(__be16 *)(l4 + 2);
	if (h->proto == TCP) {
		h->seq = *(__u32 *)(l4 + 4);
		h->flags = l4[13];
		h->size += (l4[12] >> 4) * 4;
	}
}

static __always_inline void count_lost(struct __sk_buff *skb, __u32 direction)
{
	struct lost_key key = {};
	struct headers h = {};
	__u32 zero = 0;
	__u64 one = 1, *n = bpf_map_lookup_elem(&lost_total, &zero);

	if (n)
		__sync_fetch_and_add(n, 1); // a softirq may come in between
	parse(skb, &h, 1);
	key.cgroup = bpf_skb_cgroup_id(skb);
	key.proto = h.proto;
	key.direction = direction;
	if (h.proto == TCP || h.proto == UDP)
		key.flow = h.flow;
	n = bpf_map_lookup_elem(&lost, &key);
	if (n)
		__sync_fetch_and_add(n, 1);
	else
		bpf_map_update_elem(&lost, &key, &one, BPF_NOEXIST);
}

// wake_flags lets the reader sleep until there is enough to do: a wake-up for each packet was measured to cost more
// than all the rest. The reader also wakes by itself after a while.
static __always_inline __u64 wake_flags(void)
{
	if (!asleep || bpf_ringbuf_query(&packets, BPF_RB_AVAIL_DATA) < wake_bytes)
		return BPF_RB_NO_WAKEUP;
	asleep = 0;
	return BPF_RB_FORCE_WAKEUP;
}

// reserve takes room for n+1 bytes of packet. The kernel wants reservations of constant size, so it is the next larger of
// these. All go through one piece of code afterwards: on each path the verifier knows both the size and the bound of n.
static __always_inline struct event *reserve(__u64 n)
{
	const __u32 head = sizeof(struct event);

	if (n < 104)
		return bpf_ringbuf_reserve(&packets, 104 + head, 0);
	if (n < 256)
		return bpf_ringbuf_reserve(&packets, 256 + head, 0);
	if (n < 512)
		return bpf_ringbuf_reserve(&packets, 512 + head, 0);
	if (n < 1024)
		return bpf_ringbuf_reserve(&packets, 1024 + head, 0);
	if (n < 1536)
		return bpf_ringbuf_reserve(&packets, 1536 + head, 0);
	if (n < 4096)
		return bpf_ringbuf_reserve(&packets, 4096 + head, 0);
	if (n < 8192)
		return bpf_ringbuf_reserve(&packets, 8192 + head, 0);
	if (n < 16384)
		return bpf_ringbuf_reserve(&packets, 16384 + head, 0);
	if (n < 32768)
		return bpf_ringbuf_reserve(&packets, 32768 + head, 0);
	return bpf_ringbuf_reserve(&packets, MAX_DATA + 1 + head, 0);
}

static __always_inline int record(struct __sk_buff *skb, __u32 direction, struct socket *s, __u32 captured)
{
	__u64 n = captured - 1; // not captured itself, so that the verifier knows a lower bound
	struct event *e;

	barrier_var(n);
	if (n >= MAX_DATA)
		return 1;
	e = reserve(n);
	if (!e) {
		count_lost(skb, direction);
		return 1;
	}
	e->time = bpf_ktime_get_ns();
	e->cgroup = bpf_skb_cgroup_id(skb);
	e->cookie = bpf_get_socket_cookie(skb);
	e->pid = s ? s->pid : 0;
	e->length = skb->len;
	e->captured = n + 1;
	e->direction = direction;
	if (bpf_skb_load_bytes(skb, 0, e->data, n + 1)) {
		bpf_ringbuf_discard(e, BPF_RB_NO_WAKEUP);
		count_lost(skb, direction);
		return 1;
	}
	bpf_ringbuf_submit(e, wake_flags());
	return 1;
}

// socket_of finds the note on a packet's socket. It never makes one on a listener: a packet there may be of anybody.
static __always_inline struct socket *socket_of(struct __sk_buff *skb, __u64 flags)
{
	struct bpf_sock *sk = skb->sk;

	if (!sk)
		return 0;
	sk = bpf_sk_fullsock(sk);
	if (!sk || (flags && sk->state == TCP_LISTEN))
		return 0;
	return bpf_sk_storage_get(&sockets, sk, 0, flags);
}

static __always_inline __u32 wanted(struct __sk_buff *skb)
{
	return skb->len < snap ? skb->len : snap;
}

// choice_of is the choice of the nearest ancestor that has one.
static __noinline __u32 choice_of(struct __sk_buff *skb)
{
	__u64 id = bpf_skb_cgroup_id(skb), above;
	struct conclusion *known = bpf_map_lookup_elem(&conclusions, &id), c = {};
	__u32 *choice;
	int level;

	c.generation = generation;
	if (known && known->generation == c.generation)
		return known->choice;
	c.choice = CAPTURE;
	for (level = 0; level < MAX_DEPTH; level++) {
		above = bpf_skb_ancestor_cgroup_id(skb, level);
		if (!above)
			break;
		choice = bpf_map_lookup_elem(&choices, &above);
		if (choice)
			c.choice = *choice;
	}
	bpf_map_update_elem(&conclusions, &id, &c, BPF_ANY);
	return c.choice;
}

// chosen says whether a packet is to be recorded at all. What has no ports that can be read is, whatever the ports are.
static __always_inline int chosen(struct __sk_buff *skb)
{
	struct headers h = {};

	if (!choosy)
		return 1;
	if (choice_of(skb) == IGNORE)
		return 0;
	if (!some_ports)
		return 1;
	parse(skb, &h, 0);
	if (h.proto != TCP && h.proto != UDP)
		return 1;
	return bpf_map_lookup_elem(&ports, &h.flow.sport) || bpf_map_lookup_elem(&ports, &h.flow.dport);
}

SEC("cgroup_skb/egress")
int tap_egress(struct __sk_buff *skb)
{
	struct headers h = {};

	if (!chosen(skb))
		return 1;
	if (headers_only) {
		parse(skb, &h, 0);
		if (h.proto == TCP && (h.flags & FLAG_SYN)) {
			parse(skb, &h, 1);
			bpf_map_update_elem(&openings, &h.flow, &h.seq, BPF_ANY);
		}
	}
	return record(skb, DIR_OUT, socket_of(skb, 0), wanted(skb));
}

// needed says how much of a received packet is not in its sender's record.
static __always_inline __u32 needed(struct __sk_buff *skb, struct socket **sp)
{
	struct headers h = {};
	__u32 *seq, all = wanted(skb), peer;
	struct socket *s;

	parse(skb, &h, 0);
	if (h.proto != TCP)
		return all;
	if (h.flags & FLAG_SYN) {
		// An opening of the same name that is not the one we recorded: the peer is not ours, or no longer.
		parse(skb, &h, 1);
		seq = bpf_map_lookup_elem(&openings, &h.flow);
		if (seq && *seq != h.seq)
			bpf_map_delete_elem(&openings, &h.flow);
		return all;
	}
	if (all <= SMALL || all <= h.size)
		return all;
	s = *sp = socket_of(skb, BPF_SK_STORAGE_GET_F_CREATE);
	if (!s)
		return all;
	peer = s->peer;
	if (!peer || peer >> PEER_BITS != generation) {
		parse(skb, &h, 1);
		peer = bpf_map_lookup_elem(&openings, &h.flow) ? PEER_TAPPED : PEER_FOREIGN;
		peer |= generation << PEER_BITS;
		s->peer = peer;
	}
	return (peer & ((1 << PEER_BITS) - 1)) == PEER_TAPPED ? h.size : all;
}

SEC("cgroup_skb/ingress")
int tap_ingress(struct __sk_buff *skb)
{
	struct socket *s = 0;
	__u32 captured;

	if (!ingress || !chosen(skb))
		return 1;
	captured = headers_only ? needed(skb, &s) : wanted(skb);
	return record(skb, DIR_IN, s ? s : socket_of(skb, 0), captured);
}

// The programs below note which process makes or binds a socket. Sockets that a listener accepts inherit the note. Binding
// counts because listeners may be MPTCP (Go makes them so), whose TCP socket the kernel makes for itself.
static __always_inline int note_process(struct bpf_sock *sk)
{
	struct socket *s = bpf_sk_storage_get(&sockets, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);

	struct process p = {};
	__u32 pid = bpf_get_current_pid_tgid() >> 32;

	if (s)
		s->pid = pid;
	if (choosy && !bpf_get_current_comm(p.comm, sizeof(p.comm)))
		bpf_map_update_elem(&processes, &pid, &p, BPF_ANY);
	return 1;
}

SEC("cgroup/sock_create")
int tap_socket(struct bpf_sock *sk)
{
	return note_process(sk);
}

SEC("cgroup/post_bind4")
int tap_bind4(struct bpf_sock *sk)
{
	return note_process(sk);
}

SEC("cgroup/post_bind6")
int tap_bind6(struct bpf_sock *sk)
{
	return note_process(sk);
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
