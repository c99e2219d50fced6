// Command gopacket reads the HTTP of a capture in the usual way: gopacket takes packets apart and puts streams together, net/http and
// x/net/http2 parse them. It prints the calls that it found, as `requests responses`: what devloop's own reader is compared with.
//
//	gopacket FILE
//
// It is a module of its own, because devloop does not need gopacket. It takes Ethernet or raw packets, IPv4 and classic pcap or PCAPNG alone, keeps
// no times, headers or bodies, and judges nothing.
package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
	"github.com/gopacket/gopacket/reassembly"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: gopacket FILE")
		os.Exit(2)
	}
	if err := read(os.Args[1]); err != nil {
		fmt.Fprintf(os.Stderr, "error: read %s: %v\n", os.Args[1], err)
		os.Exit(1)
	}
}

// source is a capture file of either kind.
type source interface {
	ReadPacketData() ([]byte, gopacket.CaptureInfo, error)
	LinkType() layers.LinkType
}

func open(r *bufio.Reader) (source, error) {
	magic, err := r.Peek(4)
	if err != nil {
		return nil, err
	}
	if bytes.Equal(magic, []byte{0x0a, 0x0d, 0x0d, 0x0a}) {
		return pcapgo.NewNgReader(r, pcapgo.DefaultNgReaderOptions)
	}
	return pcapgo.NewReader(r)
}

func read(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	from, err := open(bufio.NewReaderSize(f, 1<<20))
	if err != nil {
		return err
	}
	first := gopacket.LayerType(layers.LayerTypeEthernet)
	switch link := from.LinkType(); link {
	case layers.LinkTypeEthernet:
	case layers.LinkTypeRaw:
		first = layers.LayerTypeIPv4
	default:
		return fmt.Errorf("packets of %v are not read", link)
	}
	var found calls
	assembler := reassembly.NewAssembler(reassembly.NewStreamPool(&found))
	var eth layers.Ethernet
	var ip layers.IPv4
	var tcp layers.TCP
	var payload gopacket.Payload
	parser := gopacket.NewDecodingLayerParser(first, &eth, &ip, &tcp, &payload)
	parser.IgnoreUnsupported = true
	var decoded []gopacket.LayerType
	for {
		data, info, err := from.ReadPacketData()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if err := parser.DecodeLayers(data, &decoded); err != nil {
			continue // another protocol
		}
		if slices.Contains(decoded, layers.LayerTypeTCP) {
			assembler.AssembleWithContext(ip.NetworkFlow(), &tcp, (*place)(&info))
		}
	}
	assembler.FlushAll()
	found.streams.Wait()
	fmt.Println(found.requests.Load(), found.responses.Load())
	return nil
}

// place is where a packet stands, for the assembler.
type place gopacket.CaptureInfo

func (p *place) GetCaptureInfo() gopacket.CaptureInfo { return gopacket.CaptureInfo(*p) }

// calls counts what streams hold.
type calls struct {
	requests, responses atomic.Int64
	streams             sync.WaitGroup
}

// New implements reassembly.StreamFactory: each direction is parsed by a goroutine.
func (c *calls) New(gopacket.Flow, gopacket.Flow, *layers.TCP, reassembly.AssemblerContext) reassembly.Stream {
	s := &stream{state: reassembly.NewTCPSimpleFSM(reassembly.TCPSimpleFSMOptions{SupportMissingEstablishment: true})}
	for i := range s.halves {
		h := &half{pieces: make(chan []byte, 64)}
		s.halves[i] = h
		c.streams.Go(func() {
			c.parse(bufio.NewReaderSize(h, 1<<16))
			_, _ = io.Copy(io.Discard, h) // the assembler is never kept waiting
		})
	}
	return s
}

// parse reads one direction to its end, or to what it cannot read.
func (c *calls) parse(r *bufio.Reader) {
	head, _ := r.Peek(len(http2.ClientPreface))
	switch {
	case string(head) == http2.ClientPreface:
		_, _ = r.Discard(len(head))
		c.frames(r, &c.requests, ":path")
	case bytes.HasPrefix(head, []byte("HTTP/1.")):
		for {
			resp, err := http.ReadResponse(r, nil)
			if err != nil {
				return
			}
			c.responses.Add(1)
			if _, err := io.Copy(io.Discard, resp.Body); err != nil {
				return
			}
		}
	case len(head) > 9 && head[3] == byte(http2.FrameSettings):
		c.frames(r, &c.responses, ":status")
	default:
		for {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			c.requests.Add(1)
			if _, err := io.Copy(io.Discard, req.Body); err != nil {
				return
			}
		}
	}
}

// frames counts the header blocks of HTTP/2 that hold a field.
func (c *calls) frames(r io.Reader, n *atomic.Int64, field string) {
	framer := http2.NewFramer(nil, r)
	framer.SetReuseFrames()
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	for {
		f, err := framer.ReadFrame()
		if err != nil {
			return
		}
		if h, ok := f.(*http2.MetaHeadersFrame); ok && h.PseudoValue(field[1:]) != "" {
			n.Add(1)
		}
	}
}

// stream is a connection.
type stream struct {
	halves [2]*half
	state  *reassembly.TCPSimpleFSM
}

// Accept implements reassembly.Stream.
func (s *stream) Accept(tcp *layers.TCP, _ gopacket.CaptureInfo, dir reassembly.TCPFlowDirection, _ reassembly.Sequence, _ *bool, _ reassembly.AssemblerContext) bool {
	return s.state.CheckState(tcp, dir)
}

// ReassembledSG implements reassembly.Stream.
func (s *stream) ReassembledSG(sg reassembly.ScatterGather, _ reassembly.AssemblerContext) {
	dir, _, _, _ := sg.Info()
	n, _ := sg.Lengths()
	if n == 0 {
		return
	}
	h := s.halves[0]
	if dir == reassembly.TCPDirServerToClient {
		h = s.halves[1]
	}
	h.pieces <- bytes.Clone(sg.Fetch(n))
}

// ReassemblyComplete implements reassembly.Stream.
func (s *stream) ReassemblyComplete(reassembly.AssemblerContext) bool {
	for _, h := range s.halves {
		close(h.pieces)
	}
	return true
}

// half is one direction, as a reader.
type half struct {
	pieces chan []byte
	rest   []byte
}

func (h *half) Read(p []byte) (int, error) {
	for len(h.rest) == 0 {
		piece, ok := <-h.pieces
		if !ok {
			return 0, io.EOF
		}
		h.rest = piece
	}
	n := copy(p, h.rest)
	h.rest = h.rest[n:]
	return n, nil
}
