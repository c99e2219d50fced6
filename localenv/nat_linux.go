package localenv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
)

// tableName is the nftables table of a workspace.
func tableName(hash string) string { return "devloop_" + hash }

// masquerade makes the nftables table that lets services reach the world under the host's address.
func masquerade(hash string, subnet netip.Prefix) error {
	c, err := nftables.New()
	if err != nil {
		return err
	}
	t := c.AddTable(&nftables.Table{Family: nftables.TableFamilyIPv4, Name: tableName(hash)})
	chain := c.AddChain(&nftables.Chain{Name: "postrouting", Table: t, Type: nftables.ChainTypeNAT,
		Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityNATSource})
	base := subnet.Addr().As4()
	mask := net.CIDRMask(subnet.Bits(), 32)
	within := func(offset uint32, op expr.CmpOp) []expr.Any {
		return []expr.Any{
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: 4},
			&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: mask, Xor: make([]byte, 4)},
			&expr.Cmp{Op: op, Register: 1, Data: base[:]},
		}
	}
	rule := append(within(12, expr.CmpOpEq), within(16, expr.CmpOpNeq)...) // IPv4 source and destination
	c.AddRule(&nftables.Rule{Table: t, Chain: chain, Exprs: append(rule, &expr.Masq{})})
	return c.Flush()
}

// removeTable removes the workspace's table; absent is fine.
func removeTable(hash string) error {
	there, err := hasTable(hash)
	if err != nil || !there {
		return err
	}
	c, err := nftables.New()
	if err != nil {
		return err
	}
	c.DelTable(&nftables.Table{Family: nftables.TableFamilyIPv4, Name: tableName(hash)})
	return c.Flush()
}

// hasTable says whether the workspace's table is there. A kernel without nf_tables has none.
func hasTable(hash string) (bool, error) {
	c, err := nftables.New()
	if err != nil {
		return false, err
	}
	tables, err := c.ListTablesOfFamily(nftables.TableFamilyIPv4)
	if err != nil {
		return false, nil
	}
	for _, t := range tables {
		if t.Name == tableName(hash) {
			return true, nil
		}
	}
	return false, nil
}

// egress lets services reach the world: forwarding, address translation, and an exception where the host's packet
// filter forwards nothing. It returns what could not be had, in sentences; save is called before each change.
func egress(hash string, st *state, save func() error) (warnings []string) {
	if err := allowForwarding(st, save); err != nil {
		return []string{"services cannot reach addresses outside of this machine: " + err.Error()}
	}
	if err := masquerade(hash, st.Subnet); err != nil {
		rule := []string{"-t", "nat", "POSTROUTING", "-s", st.Subnet.String(), "!", "-d", st.Subnet.String(),
			"-m", "comment", "--comment", tableName(hash), "-j", "MASQUERADE"}
		if legacy := addIPTablesRule("iptables-legacy", "-A", rule, st, save); legacy != nil {
			return []string{fmt.Sprintf("services cannot reach addresses outside of this machine: nftables refused address translation (%v), and so did iptables-legacy (%v)", err, legacy)}
		}
	}
	link := linkName(hash)
	for _, program := range droppingFilters() {
		for _, rule := range [][]string{
			{"-t", "filter", "FORWARD", "-i", link, "-m", "comment", "--comment", tableName(hash), "-j", "ACCEPT"},
			{"-t", "filter", "FORWARD", "-o", link, "-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED", "-m", "comment", "--comment", tableName(hash), "-j", "ACCEPT"},
		} {
			if err := addIPTablesRule(program, "-I", rule, st, save); err != nil {
				warnings = append(warnings, fmt.Sprintf("services may not reach addresses outside of this machine: its packet filter forwards nothing, and %s refused an exception: %v", program, err))
			}
		}
	}
	return warnings
}

// droppingFilters names the iptables programs whose FORWARD chain drops by default, as Docker sets it.
func droppingFilters() []string {
	var found []string
	if c, err := nftables.New(); err == nil {
		chains, _ := c.ListChainsOfTableFamily(nftables.TableFamilyIPv4)
		for _, ch := range chains {
			if ch.Table.Name == "filter" && ch.Name == "FORWARD" && ch.Policy != nil && *ch.Policy == nftables.ChainPolicyDrop {
				found = append(found, "iptables-nft")
			}
		}
	}
	// Asking iptables-legacy would load its tables where nobody uses them.
	if text, err := os.ReadFile("/proc/net/ip_tables_names"); err == nil && strings.Contains(string(text), "filter") {
		if out, err := runTool("iptables-legacy", "-w", "-S", "FORWARD"); err == nil && strings.Contains(out, "-P FORWARD DROP") {
			found = append(found, "iptables-legacy")
		}
	}
	return found
}

// addIPTablesRule adds a rule, given as -t table chain match…, and notes it first so that it can be removed.
func addIPTablesRule(program, verb string, rule []string, st *state, save func() error) error {
	st.Rules = append(st.Rules, append([]string{program}, rule...))
	if err := save(); err != nil {
		return err
	}
	_, err := runTool(program, ruleArgs(verb, rule)...)
	return err
}

func ruleArgs(verb string, rule []string) []string {
	return append([]string{"-w", rule[0], rule[1], verb}, rule[2:]...)
}

// removeIPTablesRules removes noted rules; a rule that is not there is fine.
func removeIPTablesRules(rules [][]string) error {
	var errs []error
	for _, r := range rules {
		if len(r) < 4 {
			continue
		}
		if _, err := runTool(r[0], ruleArgs("-C", r[1:])...); err != nil {
			continue
		}
		if _, err := runTool(r[0], ruleArgs("-D", r[1:])...); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// runTool runs a program of the host within a bound; its error carries what it said.
func runTool(program string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, program, args...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", program, strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return string(out), nil
}

const forwardSysctl = "/proc/sys/net/ipv4/ip_forward"

// forwardNote holds what ip_forward was before the first workspace needed it. It is shared by all workspaces of the
// host, under the lock of the folder.
func forwardNote() string { return filepath.Join(runRoot, "ip_forward.was") }

// allowForwarding sets ip_forward, the one setting of the host that is changed, and notes what it was.
func allowForwarding(st *state, save func() error) error {
	unlock, err := lockFile(filepath.Join(runRoot, "lock"), true)
	if err != nil {
		return err
	}
	defer unlock()
	was, err := os.ReadFile(forwardSysctl)
	if err != nil {
		return fmt.Errorf("read ip_forward: %w", err)
	}
	if strings.TrimSpace(string(was)) != "0" {
		if _, err := os.Stat(forwardNote()); err != nil {
			return nil // it was on before any of us
		}
	}
	st.Forward = true
	if err := save(); err != nil {
		return err
	}
	if strings.TrimSpace(string(was)) != "0" {
		return nil
	}
	if err := os.WriteFile(forwardNote(), was, 0o600); err != nil {
		return fmt.Errorf("note ip_forward: %w", err)
	}
	if err := os.WriteFile(forwardSysctl, []byte("1"), 0); err != nil {
		return fmt.Errorf("set ip_forward: %w", err)
	}
	return nil
}

// restoreForwarding puts ip_forward back when no other workspace needs it.
func restoreForwarding(hash string) error {
	unlock, err := lockFile(filepath.Join(runRoot, "lock"), true)
	if err != nil {
		return err
	}
	defer unlock()
	was, err := os.ReadFile(forwardNote())
	if err != nil {
		return nil
	}
	states, _ := filepath.Glob(filepath.Join(runRoot, "*", stateFile))
	for _, path := range states {
		if other, err := readState(path); err == nil && other.Hash != hash && other.Forward {
			return nil
		}
	}
	if err := os.WriteFile(forwardSysctl, was, 0); err != nil {
		return fmt.Errorf("restore ip_forward to %s: %w", bytes.TrimSpace(was), err)
	}
	return os.Remove(forwardNote())
}
