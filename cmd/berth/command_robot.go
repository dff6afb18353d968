package main

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"berth/admin"
	"berth/auth"
	"berth/auth/robot"
)

func newRobotCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "robot",
		Short: "Manage robots: users that are no persons",
		Long: "Manages robots. A robot logs in with a secret that berth makes, and may do what it is given:\n" +
			"for an owner, never more than he may himself; without one, with no need of a rule.",
		Example: "  berth robot add ci --owner alice --repository 'team/**' --action pull,push --expires 90d\n" +
			"  berth robot list\n  berth robot rotate ci\n  berth robot disable ci",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return errors.New("robot: name what to do") },
	}
	cmd.AddCommand(newRobotAdd(), newRobotList(), newRobotShow(), newRobotSet(), newRobotRotate(), newRobotRevoke(),
		newRobotEnable(), newRobotDisable(), newRobotRemove())
	return cmd
}

// withKeys is withAPI for robots and personal tokens. Where the configuration
// lets nobody in, it fails: they would be in vain.
func withKeys(cmd *cobra.Command, do func(admin.API) error) error {
	cfg, err := configOf(cmd)
	if err != nil {
		return err
	}
	if !cfg.authenticates() {
		return errors.New("nobody is asked who he is: put accounts: {enabled: true}, or another backend, under auth: in the configuration")
	}
	return withAPI(cmd, do)
}

// onRobot makes a command that does one thing to the robot of its first argument.
func onRobot(use, short, example string, args int, do func(cmd *cobra.Command, api admin.API, args []string) error) *cobra.Command {
	return &cobra.Command{
		Use:     use,
		Short:   short,
		Example: example,
		Args:    cobra.ExactArgs(args),
		RunE: operation(func(cmd *cobra.Command, args []string) error {
			return withKeys(cmd, func(api admin.API) error { return do(cmd, api, args) })
		}),
	}
}

// limitFlags are the flags that narrow a robot or a token.
type limitFlags struct {
	repositories, actions, from []string
	expires                     expiry
}

func (f *limitFlags) add(cmd *cobra.Command, expires string) {
	flags := cmd.Flags()
	flags.StringSliceVar(&f.repositories, "repository", nil, "`PATTERN` of repositories, such as 'team/**'; may be given more than once")
	flags.StringSliceVar(&f.actions, "action", nil, "`ACTION`: pull, push, create, delete, list, fetch or '*'; may be given more than once")
	flags.StringSliceVar(&f.from, "from", nil, "`NETWORK` that the client must be in, such as 10.0.0.0/8; may be given more than once")
	flags.Var(&f.expires, "expires", "`WHEN` it ends: 90d, 12h, 2026-12-31 or never; "+expires)
}

func (f *limitFlags) limits() (admin.Limits, error) {
	from, err := parseNetworks(f.from)
	return admin.Limits{Repositories: f.repositories, Actions: f.actions, From: from}, err
}

// parseNetworks reads networks, or single addresses.
func parseNetworks(texts []string) ([]netip.Prefix, error) {
	var networks []netip.Prefix
	for _, s := range texts {
		network, err := netip.ParsePrefix(s)
		if addr, addrErr := netip.ParseAddr(s); addrErr == nil {
			network, err = netip.PrefixFrom(addr, addr.BitLen()), nil
		}
		if err != nil {
			return nil, fmt.Errorf("--from %s: write a network as 10.0.0.0/8 or 2001:db8::/32", s)
		}
		networks = append(networks, network.Masked())
	}
	return networks, nil
}

// An expiry is the value of --expires; the zero value is not given.
type expiry struct {
	text  string
	at    time.Time // zero with "never"
	given bool
}

// String, Set and Type implement pflag.Value.
func (e *expiry) String() string { return e.text }

func (e *expiry) Set(s string) error {
	at, err := parseExpiry(s, time.Now())
	if err != nil {
		return err
	}
	*e = expiry{s, at, true}
	return nil
}

func (e *expiry) Type() string { return "string" }

// parseExpiry reads when something ends: days or another duration from now, the
// end of a day (UTC), or never.
func parseExpiry(s string, now time.Time) (time.Time, error) {
	if s == "never" {
		return time.Time{}, nil
	}
	if day, err := time.Parse(time.DateOnly, s); err == nil {
		return day.Add(24*time.Hour - time.Second), nil
	}
	if number, ok := strings.CutSuffix(s, "d"); ok {
		if days, err := strconv.Atoi(number); err == nil && days > 0 && days < 100_000 {
			return now.AddDate(0, 0, days), nil
		}
	}
	if d, err := time.ParseDuration(s); err == nil && d > 0 {
		return now.Add(d), nil
	}
	return time.Time{}, errors.New("it must be like 90d, 12h, 2026-12-31 or never")
}

func newRobotAdd() *cobra.Command {
	var limits limitFlags
	n := admin.NewRobot{}
	cmd := onRobot("add NAME", "Add a robot, and print its secret, once",
		"  berth robot add ci --owner alice --repository 'team/**' --action pull,push --from 10.0.0.0/8 --expires 90d\n"+
			"  berth robot add cluster --repository '**' --action pull --comment 'nodes of the cluster'", 1,
		func(cmd *cobra.Command, api admin.API, args []string) (err error) {
			n.Name, n.Expires = args[0], limits.expires.at
			if n.Limits, err = limits.limits(); err != nil {
				return err
			}
			secret, err := api.AddRobot(cmd.Context(), n)
			if err != nil {
				return err
			}
			return printSecret(cmd, secret, n.Name)
		})
	limits.add(cmd, "never by itself")
	cmd.Flags().StringVar(&n.Owner, "owner", "", "`USER` for whom it acts; without one it has what it is given, with no need of a rule")
	cmd.Flags().StringVar(&n.Comment, "comment", "", "`TEXT` for people")
	return cmd
}

// printSecret prints a secret by itself, and on standard error what to do with it.
func printSecret(cmd *cobra.Command, secret auth.Secret, user string) error {
	cfg, err := configOf(cmd)
	if err != nil {
		return err
	}
	fmt.Fprintln(cmd.OutOrStdout(), secret.Reveal())
	fmt.Fprintln(cmd.ErrOrStderr(), "This is the one time that the secret is seen. With it on standard input:")
	fmt.Fprintln(cmd.ErrOrStderr(), strings.TrimRight(fmt.Sprintf("  docker login -u %s --password-stdin %s", user, cfg.clientAddress()), " "))
	return nil
}

func newRobotSet() *cobra.Command {
	var limits limitFlags
	var owner, comment string
	cmd := onRobot("set NAME", "Change what a robot may do, for whom, and until when",
		"  berth robot set ci --expires 90d\n  berth robot set ci --repository 'team/**' --repository base --action pull\n  berth robot set ci --owner '' --from ''", 1,
		func(cmd *cobra.Command, api admin.API, args []string) error {
			l, err := limits.limits()
			if err != nil {
				return err
			}
			var c admin.RobotChange
			if l.From == nil {
				l.From = []netip.Prefix{}
			}
			changed := cmd.Flags().Changed
			pick(&c.Owner, &owner, changed("owner"))
			pick(&c.Comment, &comment, changed("comment"))
			pick(&c.Repositories, &l.Repositories, changed("repository"))
			pick(&c.Actions, &l.Actions, changed("action"))
			pick(&c.From, &l.From, changed("from"))
			pick(&c.Expires, &limits.expires.at, limits.expires.given)
			if c == (admin.RobotChange{}) {
				return errors.New("say what to change")
			}
			return api.ChangeRobot(cmd.Context(), args[0], c)
		})
	limits.add(cmd, "an expired robot comes back to life")
	cmd.Flags().StringVar(&owner, "owner", "", "`USER` for whom it acts; '' for nobody")
	cmd.Flags().StringVar(&comment, "comment", "", "`TEXT` for people")
	return cmd
}

func pick[T any](field **T, value *T, given bool) {
	if given {
		*field = value
	}
}

func newRobotRotate() *cobra.Command {
	grace := robot.Grace
	cmd := onRobot("rotate NAME", "Give a robot another secret, and print it, once",
		"  berth robot rotate ci\n  berth robot rotate ci --grace 0s", 1,
		func(cmd *cobra.Command, api admin.API, args []string) error {
			secret, err := api.RotateRobot(cmd.Context(), args[0], grace)
			if err != nil {
				return err
			}
			if grace > 0 {
				fmt.Fprintf(cmd.ErrOrStderr(), "The secret before this one ends in %v.\n", grace)
			}
			return printSecret(cmd, secret, args[0])
		})
	cmd.Flags().DurationVar(&grace, "grace", grace, "`TIME` that the secret before lives on; with 0s it ends at once")
	return cmd
}

func newRobotRevoke() *cobra.Command {
	return onRobot("revoke NAME ID", "End one secret of a robot, at once", "  berth robot revoke ci K7QX2M4NPA3D", 2,
		func(cmd *cobra.Command, api admin.API, args []string) error {
			return api.RevokeRobotSecret(cmd.Context(), args[0], args[1])
		})
}

func newRobotDisable() *cobra.Command {
	return onRobot("disable NAME", "Shut a robot out, at once", "  berth robot disable ci", 1, setDisabled(true))
}

func newRobotEnable() *cobra.Command {
	return onRobot("enable NAME", "Let a disabled robot in again", "  berth robot enable ci", 1, setDisabled(false))
}

func setDisabled(disabled bool) func(*cobra.Command, admin.API, []string) error {
	return func(cmd *cobra.Command, api admin.API, args []string) error {
		return api.ChangeRobot(cmd.Context(), args[0], admin.RobotChange{Disabled: &disabled})
	}
}

func newRobotRemove() *cobra.Command {
	return onRobot("remove NAME", "Remove a robot", "  berth robot remove ci", 1,
		func(cmd *cobra.Command, api admin.API, args []string) error {
			return api.RemoveRobot(cmd.Context(), args[0])
		})
}

func newRobotList() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the robots",
		Example: "  berth robot list\n  berth robot list -o json",
		Args:    cobra.NoArgs,
		RunE: operation(func(cmd *cobra.Command, _ []string) error {
			return withKeys(cmd, func(api admin.API) error { return listRobots(cmd, api) })
		}),
	}
	addOutputFlag(cmd, "table")
	return cmd
}

func listRobots(cmd *cobra.Command, api admin.API) error {
	robots, err := api.Robots(cmd.Context())
	if err != nil {
		return err
	}
	rows := [][]string{{"NAME", "OWNER", "ACTIONS", "REPOSITORIES", "STATE", "EXPIRES", "LAST USED"}}
	for _, r := range robots {
		var used time.Time
		for _, s := range r.Secrets {
			if s.LastUsed.After(used) {
				used = s.LastUsed
			}
		}
		rows = append(rows, []string{r.Name, orDash(r.Owner), all(r.Actions), all(r.Repositories), r.State, ago(r.Expires), ago(used)})
	}
	return printResult(cmd, robots, rows)
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// all shows a part of a limit, which is all of it when nothing is given.
func all(list []string) string {
	if len(list) == 0 {
		return "*"
	}
	return strings.Join(list, ",")
}

func newRobotShow() *cobra.Command {
	cmd := onRobot("show NAME", "Show a robot and its secrets, without what is secret of them", "  berth robot show ci\n  berth robot show ci -o json", 1,
		func(cmd *cobra.Command, api admin.API, args []string) error {
			r, err := api.Robot(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			rows := [][]string{
				{"name", r.Name}, {"user", r.User}, {"owner", orDash(r.Owner)}, {"state", r.State},
				{"actions", all(r.Actions)}, {"repositories", all(r.Repositories)}, {"from", all(texts(r.From))},
				{"expires", ago(r.Expires)}, {"comment", orDash(r.Comment)}, {"created", ago(r.Created) + " by " + r.CreatedBy},
			}
			for _, s := range r.Secrets {
				text := s.ID + ", created " + ago(s.Created) + ", last used " + ago(s.LastUsed)
				if s.Addr != "" {
					text += " from " + s.Addr
				}
				if !s.Expires.IsZero() {
					text += ", ends " + ago(s.Expires)
				}
				rows = append(rows, []string{"secret", text})
			}
			return printResult(cmd, r, rows)
		})
	addOutputFlag(cmd, "table")
	return cmd
}

func texts[T fmt.Stringer](values []T) []string {
	var list []string
	for _, v := range values {
		list = append(list, v.String())
	}
	return list
}
