package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/devloop-io/devloop/internal/config"
	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/kindenv/cluster"
	"github.com/devloop-io/devloop/kindenv/image"
)

// defaultCluster is the cluster of workspaces that name none.
const defaultCluster = "devloop"

// clusterVerb makes and deletes kind clusters. It needs neither daemon nor devloop.yaml.
func clusterVerb(r *root) *cobra.Command {
	c := &cobra.Command{
		Use: "cluster", Short: "kind clusters: create, delete, status, list, load, kubeconfig",
		Long: `Clusters of kind, on this machine's container engine. Each has a kubeconfig file of its own: ~/.kube/config and the
current context are never touched. --name is environment.kind.name of devloop.yaml by default, else "devloop".`,
	}
	c.AddCommand(clusterCreate(r), clusterDelete(r), clusterStatus(r), clusterList(r), clusterLoad(r), clusterKubeconfig(r))
	return c
}

func clusterCreate(r *root) *cobra.Command {
	var o cluster.CreateOptions
	c := &cobra.Command{
		Use: "create", Short: "Make a kind cluster", Args: cobra.NoArgs,
		Long:    "Makes a kind cluster and waits until it serves. What fails leaves nothing behind.",
		Example: "  devloop cluster create --nodes 3\n  export KUBECONFIG=$(devloop cluster kubeconfig)",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return r.withClusters(cmd, &o.Name, func(ctx context.Context, home cluster.Folder, settings config.KindEnvironment, workspace string) error {
				fromSettings(cmd, &o, settings, workspace)
				o.System, o.Progress = true, r.clusterStep
				began := time.Now()
				if _, err := home.Create(ctx, o); err != nil {
					return err
				}
				info, err := home.Status(ctx, o.Name)
				if err != nil {
					return err
				}
				if !r.text() {
					return r.json(info)
				}
				fmt.Fprintf(r.out, "cluster %s is there: Kubernetes %s, %d node(s), %.1f s\nexport KUBECONFIG=%s\n", o.Name, info.Version, len(info.Nodes), time.Since(began).Seconds(), info.Kubeconfig)
				return nil
			})
		},
	}
	r.nameFlag(c, &o.Name)
	f := c.Flags()
	f.IntVar(&o.Nodes, "nodes", 1, "one control plane, the others workers; counts where --config lists no nodes")
	f.StringVar(&o.NodeImage, "node-image", "", "image of every node; kind's own default, which is pulled, otherwise")
	f.StringVar(&o.Config, "config", "", "kind configuration file, passed through")
	f.DurationVar(&o.Wait, "wait", 3*time.Minute, "how long to wait for nodes, CoreDNS and kube-proxy; 0 waits for none")
	_ = c.MarkFlagFilename("config", "yaml", "yml") // fails only for flags that are not there
	return c
}

// fromSettings takes from devloop.yaml what no flag says.
func fromSettings(cmd *cobra.Command, o *cluster.CreateOptions, s config.KindEnvironment, workspace string) {
	given := cmd.Flags().Changed
	if !given("nodes") && s.Nodes > 0 {
		o.Nodes = s.Nodes
	}
	if !given("node-image") {
		o.NodeImage = s.NodeImage
	}
	if !given("config") && s.Config != "" {
		o.Config = filepath.Join(workspace, s.Config)
	}
}

func clusterDelete(r *root) *cobra.Command {
	var (
		name  string
		force bool
	)
	c := &cobra.Command{
		Use: "delete", Short: "Delete a kind cluster that devloop made", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return r.withClusters(cmd, &name, func(ctx context.Context, home cluster.Folder, _ config.KindEnvironment, _ string) error {
				if err := home.Delete(ctx, name, force); err != nil {
					return err
				}
				r.say("cluster %s is deleted: nothing is left", name)
				return nil
			})
		},
	}
	r.nameFlag(c, &name)
	c.Flags().BoolVar(&force, "force", false, "also one that devloop did not make")
	return c
}

func clusterStatus(r *root) *cobra.Command {
	var name string
	c := &cobra.Command{
		Use: "status", Short: "What a kind cluster is like, down to its nodes", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return r.withClusters(cmd, &name, func(ctx context.Context, home cluster.Folder, _ config.KindEnvironment, _ string) error {
				info, err := home.Status(ctx, name)
				if err != nil {
					return err
				}
				if !r.text() {
					err = r.json(info)
				} else {
					err = r.printCluster(info)
				}
				if err == nil && info.State != "running" {
					return exit(control.ExitEnvironment)
				}
				return err
			})
		},
	}
	r.nameFlag(c, &name)
	return c
}

func clusterList(r *root) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "The kind clusters of this machine", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var name string
			return r.withClusters(cmd, &name, func(ctx context.Context, home cluster.Folder, _ config.KindEnvironment, _ string) error {
				list, err := home.List(ctx)
				if err != nil {
					return err
				}
				if !r.text() {
					return r.json(append([]cluster.Info{}, list...))
				}
				t := tabwriter.NewWriter(r.out, 0, 8, 2, ' ', 0)
				fmt.Fprintln(t, "NAME\tSTATE\tNODES\tMADE BY\tKUBECONFIG")
				for _, c := range list {
					maker := "somebody else"
					if c.Ours {
						maker = "devloop"
					}
					fmt.Fprintf(t, "%s\t%s\t%d\t%s\t%s\n", c.Name, c.State, len(c.Nodes), maker, c.Kubeconfig)
				}
				return t.Flush()
			})
		},
	}
}

func clusterLoad(r *root) *cobra.Command {
	var name string
	c := &cobra.Command{
		Use: "load IMAGE...", Short: "Stream images of the engine, or docker save archives, into every node", Args: cobra.MinimumNArgs(1),
		Long:    "Streams images into every node at once, without a registry. A node that has an image already is not sent it.",
		Example: "  devloop cluster load payment:dev\n  devloop cluster load ./payment.tar",
		RunE: func(cmd *cobra.Command, args []string) error {
			return r.withClusters(cmd, &name, func(ctx context.Context, home cluster.Folder, _ config.KindEnvironment, _ string) (err error) {
				c, err := home.Attach(ctx, name)
				if err != nil {
					return err
				}
				images, err := openImages(ctx, args)
				defer func() { err = errors.Join(err, closeImages(images)) }()
				if err != nil {
					return err
				}
				loaded, err := image.Load(ctx, c, images...)
				if err != nil {
					return err
				}
				if !r.text() {
					return r.json(loaded)
				}
				for _, l := range loaded {
					what := fmt.Sprintf("loaded in %d ms", l.Took.Milliseconds())
					if l.Present {
						what = "is there already"
					}
					fmt.Fprintf(r.out, "%s on %s: %s\n", l.Image, l.Node, what)
				}
				return nil
			})
		},
	}
	r.nameFlag(c, &name)
	return c
}

// openImages takes names of the engine's images and paths of archives: what ends in .tar is one.
func openImages(ctx context.Context, args []string) ([]*image.Image, error) {
	var images []*image.Image
	for _, arg := range args {
		var i *image.Image
		var err error
		if strings.HasSuffix(arg, ".tar") {
			i, err = image.FromArchive(arg, "")
		} else {
			i, err = image.FromEngine(ctx, arg)
		}
		if err != nil {
			return images, err
		}
		images = append(images, i)
	}
	return images, nil
}

func closeImages(images []*image.Image) error {
	var errs []error
	for _, i := range images {
		errs = append(errs, i.Close())
	}
	return errors.Join(errs...)
}

func clusterKubeconfig(r *root) *cobra.Command {
	var name string
	c := &cobra.Command{
		Use: "kubeconfig", Short: "The path of a cluster's own kubeconfig file", Args: cobra.NoArgs,
		Example: "  export KUBECONFIG=$(devloop cluster kubeconfig)",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return r.withClusters(cmd, &name, func(ctx context.Context, home cluster.Folder, _ config.KindEnvironment, _ string) error {
				c, err := home.Attach(ctx, name)
				if err != nil {
					return err
				}
				if !r.text() {
					return r.json(map[string]string{"kubeconfig": c.Kubeconfig, "context": c.Context})
				}
				fmt.Fprintln(r.out, c.Kubeconfig)
				return nil
			})
		},
	}
	r.nameFlag(c, &name)
	return c
}

// nameFlag is --name, with completion.
func (r *root) nameFlag(c *cobra.Command, name *string) {
	c.Flags().StringVar(name, "name", "", `the cluster; environment.kind.name of devloop.yaml, else "devloop", by default`)
	_ = c.RegisterFlagCompletionFunc("name", func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		home, err := cluster.Home()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		list, _ := home.List(cmd.Context()) // completes nothing where no engine answers
		var names []string
		for _, c := range list {
			names = append(names, c.Name)
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}) // fails only for flags that are not there
}

// withClusters finds folder, settings and name, and gives errors their exit code.
func (r *root) withClusters(cmd *cobra.Command, name *string, do func(ctx context.Context, home cluster.Folder, settings config.KindEnvironment, workspace string) error) error {
	ctx, cancel := r.bounded(cmd.Context())
	defer cancel()
	settings, workspace, err := r.kindSettings()
	if err != nil {
		return err
	}
	for _, candidate := range []string{settings.Name, defaultCluster} {
		if *name == "" {
			*name = candidate
		}
	}
	home, err := cluster.Home()
	if err != nil {
		return err
	}
	if err := do(ctx, home, settings, workspace); err != nil {
		return timedOut(ctx, clusterFailure(ctx, err))
	}
	return nil
}

// kindSettings reads devloop.yaml where there is one.
func (r *root) kindSettings() (config.KindEnvironment, string, error) {
	where := r.workspace
	if where == "" {
		where = "."
	}
	c, err := config.Load(where)
	switch {
	case errors.Is(err, config.ErrNotFound) && r.workspace == "":
		return config.KindEnvironment{}, "", nil
	case err != nil:
		return config.KindEnvironment{}, "", control.Usagef("", err.Error())
	}
	return c.Environment.Kind, c.Dir, nil
}

// clusterFailure gives an error of kindenv its exit code: 2 for what was asked, 3 for the machine.
func clusterFailure(ctx context.Context, err error) error {
	var known *cluster.Error
	var told exit
	switch {
	case errors.As(err, &told):
		return err
	case !errors.As(err, &known):
		return environmental(ctx, err)
	case known.Reason.Usage():
		return control.Usagef(known.Hint, err.Error())
	}
	return &control.Error{What: err.Error(), Hint: known.Hint, Exit: control.ExitEnvironment}
}

// clusterStep tells of a step when it ends, and on a terminal when it begins as well.
func (r *root) clusterStep(s cluster.Step) {
	switch {
	case s.Err != "":
		r.say("✗ %s: %s", s.Name, s.Err)
	case s.Done && s.Took >= 50*time.Millisecond:
		r.say("✓ %-36s %5.1f s", s.Name, s.Took.Seconds())
	case !s.Done && r.quiet:
	case !s.Done && isTerminal(os.Stderr):
		fmt.Fprintf(r.err, "… %s\r", s.Name)
	}
}

func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

func (r *root) printCluster(c *cluster.Info) error {
	fmt.Fprintf(r.out, "cluster %s: %s", c.Name, c.State)
	if c.Problem != "" {
		fmt.Fprintf(r.out, ": %s", c.Problem)
	}
	if c.Version != "" {
		fmt.Fprintf(r.out, ", Kubernetes %s at %s", c.Version, c.Server)
	}
	if !c.Ours {
		fmt.Fprint(r.out, ", not made by devloop")
	}
	fmt.Fprintln(r.out)
	if c.Kubeconfig != "" {
		fmt.Fprintf(r.out, "kubeconfig %s, context %s\n", c.Kubeconfig, c.Context)
	}
	t := tabwriter.NewWriter(r.out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "\nNODE\tROLE\tCONTAINER\tREADY\tARCH\tIMAGE\tWHY")
	for _, n := range c.Nodes {
		fmt.Fprintf(t, "%s\t%s\t%s\t%v\t%s\t%s\t%s\n", n.Name, n.Role, n.State, n.Ready, n.Arch, n.Image, n.Reason)
	}
	return t.Flush()
}
