package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"berth/admin"
	"berth/auth"
)

func newAccessCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "access",
		Short:   "Ask what the access rules say",
		Example: "  berth access explain alice push team/app:v1\n  berth access explain --ref 7KQ2M4XNPA\n  berth access test",
		Args:    cobra.NoArgs,
		RunE:    func(*cobra.Command, []string) error { return errors.New("access: name what to do") },
	}
	cmd.AddCommand(newAccessExplain(), newAccessTest())
	return cmd
}

func newAccessExplain() *cobra.Command {
	var ref, jwt, action string
	var q admin.Question
	cmd := &cobra.Command{
		Use:   "explain USER ACTION REPO[:TAG]",
		Short: "Say what a user may do, and which rule says so",
		Long: "Says whether USER may do ACTION to a repository, which rule decided, and which rules\n" +
			"nearly did. USER is anonymous for who has not logged in. With --ref it says why the\n" +
			"request was refused whose message ended in that reference. With --jwt it says what the\n" +
			"rules of auth.trust make of a signed token, and with --action what its bearer may do. It\n" +
			"exits with 0 whatever the answer is, and with 1 when there is none: what must hold belongs\n" +
			"into the accesstests of the configuration, and `berth access test`.",
		Example: "  berth access explain alice push team/app:v1\n  berth access explain bob pull team/app --group developers --from 10.1.2.3\n" +
			"  berth access explain --ref 7KQ2M4XNPA\n  berth access explain --jwt token.txt --action push team/app:v1",
		Args: func(cmd *cobra.Command, args []string) error {
			switch {
			case ref != "" && jwt != "":
				return errors.New("--ref and --jwt are two questions: ask one")
			case jwt == "" && action != "":
				return errors.New("--action goes with --jwt")
			case jwt != "" && len(q.Groups) > 0:
				return errors.New("--group does not go with --jwt: its rule says which groups there are")
			case jwt != "" && action == "" && len(args) > 0:
				return errors.New("what the bearer of a token may do is asked as --jwt FILE --action ACTION REPO[:TAG]")
			case ref != "", jwt != "" && (action == "" || action == "admin"):
				return cobra.NoArgs(cmd, args)
			case jwt != "":
				return cobra.ExactArgs(1)(cmd, args)
			}
			if len(args) == 2 && args[1] == "admin" {
				return nil
			}
			return cobra.ExactArgs(3)(cmd, args)
		},
		RunE: operation(func(cmd *cobra.Command, args []string) error {
			return withAPI(cmd, func(api admin.API) error {
				if ref != "" {
					return explainRef(cmd, api, ref)
				}
				if jwt != "" {
					return explainToken(cmd, api, jwt, admin.TokenQuestion{Action: action, Repository: strings.Join(args, ""), Addr: q.Addr})
				}
				q.User, q.Action = args[0], args[1]
				if len(args) == 3 {
					q.Repository = args[2]
				}
				return explain(cmd, api, q)
			})
		}),
	}
	cmd.Flags().StringVar(&ref, "ref", "", "`REFERENCE` at the end of a refusal")
	cmd.Flags().StringVar(&jwt, "jwt", "", "`FILE` with a signed token, or - for standard input")
	cmd.Flags().StringVar(&action, "action", "", "`ACTION` of the bearer of the token")
	cmd.Flags().StringSliceVar(&q.Groups, "group", nil, "`GROUP` that the user is taken to be in as well")
	cmd.Flags().StringVar(&q.Addr, "from", "", "`ADDRESS` that the user is taken to come from")
	addOutputFlag(cmd, "table")
	return cmd
}

func explain(cmd *cobra.Command, api admin.API, q admin.Question) error {
	e, err := api.Explain(cmd.Context(), q)
	if err != nil {
		return err
	}
	return printText(cmd, e, e.String())
}

// maxTokenFile bounds a file with a token, in bytes.
const maxTokenFile = 64 << 10

func explainToken(cmd *cobra.Command, api admin.API, path string, q admin.TokenQuestion) error {
	in := cmd.InOrStdin()
	if path != "-" {
		file, err := os.Open(path)
		if err != nil {
			return fmt.Errorf("read the token: %w", err)
		}
		defer file.Close()
		in = file
	}
	data, err := io.ReadAll(io.LimitReader(in, maxTokenFile))
	if err != nil {
		return fmt.Errorf("read the token: %w", err)
	}
	q.Token = auth.Secret(strings.TrimSpace(string(data)))
	e, err := api.ExplainToken(cmd.Context(), q)
	if err != nil {
		return err
	}
	return printText(cmd, e, e.String())
}

func explainRef(cmd *cobra.Command, api admin.API, ref string) error {
	r, err := api.ExplainRef(cmd.Context(), ref)
	if err != nil {
		return err
	}
	text := fmt.Sprintf("%s: %s was refused (%d)", r.Time.Format(time.RFC3339), r.User, r.Status)
	if r.Addr != "" {
		text += " from " + r.Addr
	}
	if r.Scope != "" {
		text += ", " + r.Scope
	}
	text += ": " + r.Reason + "\n"
	if r.Explanation != nil {
		text += "as the rules stand now:\n" + r.Explanation.String()
	}
	return printText(cmd, r, text)
}

func newAccessTest() *cobra.Command {
	return &cobra.Command{
		Use:     "test",
		Short:   "Run the accesstests of the configuration",
		Example: "  berth access test --config config.yml",
		Args:    cobra.NoArgs,
		RunE: operation(func(cmd *cobra.Command, _ []string) error {
			cfg, err := configOf(cmd)
			if err != nil {
				return err
			}
			if _, err := cfg.policy(); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%d accesstests hold\n", len(cfg.AccessTests))
			return nil
		}),
	}
}
