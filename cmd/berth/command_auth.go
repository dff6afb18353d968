package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"berth/auth"
)

func newAuthCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "auth",
		Short:   "Test the authentication backends",
		Example: "  berth auth test ldap corp --user bob\n  berth auth test htpasswd --user bob --password-stdin < password",
		Args:    cobra.NoArgs,
		RunE:    func(*cobra.Command, []string) error { return errors.New("auth: name what to do") },
	}
	cmd.AddCommand(newAuthTest())
	return cmd
}

// backendKinds are what `berth auth test` can test.
var backendKinds = [...]string{"htpasswd", "ldap", "oidc"}

func newAuthTest() *cobra.Command {
	var q trialQuestion
	var fromStdin bool
	cmd := &cobra.Command{
		Use:   "test KIND [NAME]",
		Short: "Try a login step by step",
		Long: "Looks for a user in one backend of the configuration, as a login would, and says what each\n" +
			"step found, how long it took, and what to change. KIND is htpasswd, ldap or oidc; NAME is that of a\n" +
			"directory or provider, where there are several. With --password-stdin the password is tried too; it\n" +
			"counts as a login where the directory counts them. The server need not run. The exit code is 0 when\n" +
			"the user would get in or, without a password, is there and may.",
		Example: "  berth auth test ldap corp --user bob\n" +
			"  berth auth test ldap corp --user bob --password-stdin < password\n" +
			"  berth auth test htpasswd --user bob -o json\n" +
			"  berth auth test oidc sso",
		Args: func(cmd *cobra.Command, args []string) error {
			if err := cobra.RangeArgs(1, 2)(cmd, args); err != nil {
				return err
			}
			if !slices.Contains(backendKinds[:], args[0]) {
				return fmt.Errorf("%q is none of %s", args[0], strings.Join(backendKinds[:], ", "))
			}
			if q.user == "" && args[0] != "oidc" {
				return errors.New("--user is needed: whom to look for")
			}
			if fromStdin && args[0] == "oidc" {
				return errors.New("--password-stdin is for htpasswd and ldap: the passwords of oidc are only for the provider")
			}
			return nil
		},
		RunE: operation(func(cmd *cobra.Command, args []string) error {
			if len(args) == 2 {
				q.name = args[1]
			}
			if fromStdin {
				password, err := passwordLine(cmd)
				if err != nil {
					return err
				}
				q.password = &password
			}
			cfg, err := configOf(cmd)
			if err != nil {
				return err
			}
			return tryLogin(cmd, cfg, args[0], q)
		}),
	}
	cmd.Flags().StringVar(&q.user, "user", "", "`USER` to look for, as he would log in")
	cmd.Flags().BoolVar(&fromStdin, "password-stdin", false, "try the password that is the first line of standard input")
	addOutputFlag(cmd, "table")
	return cmd
}

// A trialQuestion is whom to look for, and where.
type trialQuestion struct {
	name     string // of the backend; "" where there is one
	user     string
	password *auth.Secret // nil: only look
}

// tryLogin tests a backend of a kind and prints what it found.
func tryLogin(cmd *cobra.Command, cfg *Config, kind string, q trialQuestion) error {
	var r *trial
	var err error
	switch kind {
	case "htpasswd":
		r, err = tryHtpasswd(cmd, cfg, q)
	case "ldap":
		r, err = tryLDAP(cmd, cfg, q)
	default:
		r, err = tryOIDC(cmd.Context(), cfg, q)
	}
	if err != nil {
		return err
	}
	r.conclude()
	if err := printText(cmd, r, r.text()); err != nil {
		return err
	}
	if !r.OK {
		return &failure{}
	}
	return nil
}

// A trial is what a test of a backend found.
type trial struct {
	Kind   string      `json:"kind"`
	Name   string      `json:"name,omitempty"`
	User   string      `json:"user,omitempty"`
	As     string      `json:"as,omitempty"` // the user's name here
	Groups []string    `json:"groups,omitempty"`
	OK     bool        `json:"ok"`
	Says   string      `json:"says"` // what it comes down to
	Steps  []trialStep `json:"steps"`
	good   string      // what is said when all is well
}

// A trialStep is one thing that a login does.
type trialStep struct {
	Name     string        `json:"name"`
	Duration time.Duration `json:"duration"` // in ns
	Detail   []string      `json:"detail,omitempty"`
	Warning  string        `json:"warning,omitempty"` // what could be better
	Error    string        `json:"error,omitempty"`   // why it failed
	Hint     string        `json:"hint,omitempty"`    // what to do about that
}

// do runs a step and reports whether it succeeded. It returns what it found, for
// people, a line each, and what could be better or would help.
func (r *trial) do(name string, f func() (detail []string, advice string, err error)) bool {
	begin := time.Now()
	detail, advice, err := f()
	s := trialStep{Name: name, Duration: time.Since(begin), Detail: detail}
	if err != nil {
		s.Error, s.Hint = err.Error(), advice
	} else {
		s.Warning = advice
	}
	r.Steps = append(r.Steps, s)
	r.OK = err == nil
	return r.OK
}

// conclude says what the steps come down to: when it did not go well, the last
// that failed.
func (r *trial) conclude() {
	r.Says = r.good
	for _, s := range r.Steps {
		if !r.OK && s.Error != "" {
			r.Says = s.Name + ": " + s.Error
		}
	}
}

// text returns the trial for people.
func (r *trial) text() string {
	var b strings.Builder
	width := 0
	for _, s := range r.Steps {
		width = max(width, len(s.Name))
	}
	for _, s := range r.Steps {
		mark := "ok  "
		if s.Error != "" {
			mark = "FAIL"
		}
		fmt.Fprintf(&b, "%s  %-*s  %8s\n", mark, width, s.Name, durationText(s.Duration))
		for _, line := range s.Detail {
			fmt.Fprintf(&b, "      %s\n", line)
		}
		for _, note := range [][2]string{{"warning", s.Warning}, {"error", s.Error}, {"advice", s.Hint}} {
			if note[1] != "" {
				fmt.Fprintf(&b, "      %s: %s\n", note[0], note[1])
			}
		}
	}
	verdict := "ok: "
	if !r.OK {
		verdict = "failed: "
	}
	return b.String() + verdict + r.Says + "\n"
}

func durationText(d time.Duration) string {
	switch {
	case d >= time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d >= time.Millisecond:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return fmt.Sprintf("%d µs", d.Microseconds())
}

// chooseBackend returns which of the backends under a key is meant by a name,
// which may be empty where there is only one.
func chooseBackend(key string, names []string, name string) (int, error) {
	i := slices.Index(names, name)
	switch {
	case len(names) == 0:
		return 0, fmt.Errorf("%s is not configured", key)
	case i >= 0:
		return i, nil
	case name == "" && len(names) == 1:
		return 0, nil
	case name == "":
		return 0, fmt.Errorf("%s has several: name one of %s", key, strings.Join(names, ", "))
	}
	return 0, fmt.Errorf("%s has no %q, only %s", key, name, strings.Join(names, ", "))
}
