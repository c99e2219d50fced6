package dissect_test

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/devloop-io/devloop/capture/pcapfile"
	"github.com/devloop-io/devloop/traffic"
)

// tsharkFields are what truth.jsonl is made of; the flags of TCP come last, in the order of tcpTruth.
var tsharkFields = []string{"http.request.method", "http.request.uri", "http.response.code", "http2.headers.method", "http2.headers.path",
	"http2.headers.status", "dns.flags.response", "dns.qry.name", "pgsql.query", "resp.bulk_string.value", "tls.handshake.extensions_server_name",
	"tcp.stream", "tcp.analysis.initial_rtt", "tcp.completeness", "tcp.flags.reset", "tcp.flags.fin", "tcp.analysis.retransmission",
	"tcp.analysis.fast_retransmission", "tcp.analysis.out_of_order", "tcp.analysis.duplicate_ack", "tcp.analysis.lost_segment",
	"tcp.analysis.zero_window", "tcp.analysis.window_full", "tcp.analysis.keep_alive"}

// askTshark is what two passes of tshark find in a capture; one pass prints completeness as it was before the packet.
func askTshark(t *testing.T, file string) (w truth) {
	t.Helper()
	args := []string{"-n", "-2", "-r", file, "-T", "fields", "-E", "separator=\x1e", "-E", "occurrence=a", "-E", "aggregator=\x1f"}
	for _, f := range tsharkFields {
		args = append(args, "-e", f)
	}
	out, err := exec.Command("tshark", args...).Output()
	if err != nil && len(out) == 0 {
		t.Errorf("tshark -r %s: %v", file, err)
	}
	w.TCP = map[string]tcpTruth{}
	for line := range strings.Lines(string(out)) {
		if row := strings.Split(strings.TrimSuffix(line, "\n"), "\x1e"); len(row) == len(tsharkFields) {
			w.add(row)
		}
	}
	return w
}

// add takes the fields of one packet.
func (w *truth) add(row []string) {
	all := func(i int) []string {
		return strings.FieldsFunc(row[i], func(r rune) bool { return r == '\x1f' })
	}
	w.HTTP = append(w.HTTP, paired(all(0), all(1))...)
	w.Status = append(w.Status, numbers(all(2))...)
	w.HTTP2 = append(w.HTTP2, paired(all(3), all(4))...)
	w.Codes2 = append(w.Codes2, numbers(all(5))...)
	if response, names := all(6), all(7); len(response) > 0 && len(names) > 0 && (response[0] == "0" || response[0] == "False") {
		w.DNS = append(w.DNS, [2]any{names[0], nil})
	}
	w.PGSQL = append(w.PGSQL, all(8)...)
	w.Redis = append(w.Redis, all(9)...)
	w.SNI = append(w.SNI, all(10)...)
	if row[11] == "" {
		return
	}
	stream := all(11)[0]
	s := w.TCP[stream]
	s.Pkts++
	if rtt, err := strconv.ParseFloat(row[12], 64); err == nil && s.InitialRTT == 0 {
		s.InitialRTT = int64(rtt*1e6 + 0.5)
	}
	if n := numbers(all(13)); len(n) > 0 {
		s.Completeness = n[0]
	}
	for i, n := range []*int{&s.RST, &s.FIN, &s.Retrans, &s.Fast, &s.OutOfOrder, &s.DupAcks, &s.Lost, &s.ZeroWindow, &s.WindowFull, &s.KeepAlive} {
		if set := all(14 + i); len(set) > 0 && set[0] != "0" && set[0] != "False" {
			*n++
		}
	}
	w.TCP[stream] = s
}

func paired(methods, targets []string) (both [][2]string) {
	for i, m := range methods {
		both = append(both, [2]string{m, ""})
		if i < len(targets) {
			both[i][1] = targets[i]
		}
	}
	return both
}

func numbers(texts []string) (all []int) {
	for _, s := range texts {
		if n, err := strconv.Atoi(s); err == nil {
			all = append(all, n)
		}
	}
	return all
}

// writePackets writes a capture with an interface for each link type.
func writePackets(t *testing.T, file string, all []traffic.Packet) {
	t.Helper()
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := pcapfile.NewWriter(f, pcapfile.Header{})
	index := map[traffic.LinkType]int{}
	for i := range all {
		at, ok := index[all[i].Link]
		if !ok {
			at = w.AddInterface(&traffic.Interface{Link: all[i].Link})
			index[all[i].Link] = at
		}
		if err := w.Write(&all[i], at); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
}
