//go:build ignore

// Detours: programs on a cgroup that turn its sockets, as they connect to some destinations, to others, or that lose its
// packets from and to them.
#include "vmlinux.h"
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define TCP 6
#define UDP 17

const volatile __u32 rate = 0xffffffff; // of the connections or packets, as a part of 2^32 - 1

// An IPv4 address and a port, both as in a packet.
struct end {
	__be32 addr;
	__be16 port;
	__u16 pad;
};
const struct end *unused_end __attribute__((unused));

// The destinations that are meant, and where connections to them go instead.
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct end);
	__type(value, struct end);
} turns SEC(".maps");

// Where turned sockets think that they are connected to, by their cookies.
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, __u64);
	__type(value, struct end);
} meant SEC(".maps");

static __always_inline int met(void)
{
	return rate == 0xffffffff || bpf_get_prandom_u32() < rate;
}

// turned says where a connection to an end goes instead, and notes for the socket what it was to be.
static __always_inline struct end *turned(struct bpf_sock_addr *ctx, __be32 addr)
{
	struct end end = {.addr = addr, .port = ctx->user_port}, *to;
	__u64 cookie;

	if (ctx->protocol != TCP)
		return 0;
	to = bpf_map_lookup_elem(&turns, &end);
	if (!to || !met())
		return 0;
	cookie = bpf_get_socket_cookie(ctx);
	bpf_map_update_elem(&meant, &cookie, &end, BPF_ANY);
	return to;
}

SEC("cgroup/connect4")
int detour_connect4(struct bpf_sock_addr *ctx)
{
	struct end *to = turned(ctx, ctx->user_ip4);

	if (to) {
		ctx->user_ip4 = to->addr;
		ctx->user_port = to->port;
	}
	return 1;
}

// mapped says whether the address is an IPv4 one within IPv6, as programs use that serve both with one socket.
static __always_inline int mapped(struct bpf_sock_addr *ctx)
{
	return !ctx->user_ip6[0] && !ctx->user_ip6[1] && ctx->user_ip6[2] == bpf_htonl(0xffff);
}

SEC("cgroup/connect6")
int detour_connect6(struct bpf_sock_addr *ctx)
{
	struct end *to;

	if (!mapped(ctx))
		return 1;
	to = turned(ctx, ctx->user_ip6[3]);
	if (to) {
		ctx->user_ip6[3] = to->addr;
		ctx->user_port = to->port;
	}
	return 1;
}

SEC("cgroup/getpeername4")
int detour_peer4(struct bpf_sock_addr *ctx)
{
	__u64 cookie = bpf_get_socket_cookie(ctx);
	struct end *end = bpf_map_lookup_elem(&meant, &cookie);

	if (end) {
		ctx->user_ip4 = end->addr;
		ctx->user_port = end->port;
	}
	return 1;
}

SEC("cgroup/getpeername6")
int detour_peer6(struct bpf_sock_addr *ctx)
{
	__u64 cookie = bpf_get_socket_cookie(ctx);
	struct end *end = bpf_map_lookup_elem(&meant, &cookie);

	if (end && mapped(ctx)) {
		ctx->user_ip6[3] = end->addr;
		ctx->user_port = end->port;
	}
	return 1;
}

// kept says whether a packet goes on its way: 0 loses it.
static __always_inline int kept(struct __sk_buff *skb, int destination)
{
	void *data = (void *)(long)skb->data, *data_end = (void *)(long)skb->data_end;
	__u8 *ip = data;
	struct end end = {};

	// TCP's ports and UDP's are where they are only behind a header without options: others pass.
	if (data + 24 > data_end || ip[0] != 0x45 || (ip[9] != TCP && ip[9] != UDP) || (*(__be16 *)(ip + 6) & bpf_htons(0x1fff)))
		return 1;
	end.addr = *(__be32 *)(ip + (destination ? 16 : 12));
	end.port = *(__be16 *)(ip + (destination ? 22 : 20));
	return !bpf_map_lookup_elem(&turns, &end) || !met();
}

SEC("cgroup_skb/ingress")
int detour_ingress(struct __sk_buff *skb)
{
	return kept(skb, 0);
}

SEC("cgroup_skb/egress")
int detour_egress(struct __sk_buff *skb)
{
	return kept(skb, 1);
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
