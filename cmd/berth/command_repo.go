package main

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"berth/access"
	"berth/oci"
	"berth/registry"
)

func newRepoCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "repo",
		Short:   "Manage repositories, and see what they hold",
		Example: "  berth repo list 'team/**'\n  berth repo show team/app\n  berth repo delete team/old-app",
		Args:    cobra.NoArgs,
		RunE:    func(*cobra.Command, []string) error { return errors.New("repo: name what to do") },
	}
	cmd.AddCommand(newRepoList(), newRepoShow(), newRepoDelete(), newRepoCheck())
	return cmd
}

// withRepositories is withStored for the data that the configuration names.
func withRepositories(cmd *cobra.Command, do func(stored) error) error {
	cfg, err := configOf(cmd)
	if err != nil {
		return err
	}
	return withStored(cmd, cfg, false, do)
}

func newRepoList() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list [PATTERN]",
		Short: "List repositories with what they hold",
		Long: "Lists the repositories that match PATTERN, as rules have it, or all. Bytes are those of the blobs\n" +
			"and manifests of each: what several share counts in each of them, and may be stored once. The quota\n" +
			"is the fullest of those that the repository is under, with all that share it.",
		Example: "  berth repo list\n  berth repo list 'team/**' -o json",
		Args:    cobra.MaximumNArgs(1),
		RunE: operation(func(cmd *cobra.Command, args []string) error {
			match := func(oci.Name) bool { return true }
			if len(args) > 0 {
				var err error
				if match, err = access.Matcher(args[0]); err != nil {
					return err
				}
			}
			return withRepositories(cmd, func(s stored) error {
				list, err := listUsages(cmd, s, match)
				if err != nil {
					return err
				}
				rows := [][]string{{"NAME", "TAGS", "MANIFESTS", "BYTES", "QUOTA"}}
				for _, u := range list {
					rows = append(rows, []string{string(u.Name), strconv.FormatInt(u.Tags, 10), strconv.FormatInt(u.Manifests, 10), byteCount(u.Bytes), fullest(u.Quotas)})
				}
				return printResult(cmd, list, rows)
			})
		}),
	}
	addOutputFlag(cmd, "table")
	return cmd
}

// listUsages returns all repositories that match.
func listUsages(cmd *cobra.Command, s stored, match func(oci.Name) bool) ([]registry.RepositoryUsage, error) {
	list := []registry.RepositoryUsage{}
	var after oci.Name
	for {
		page, err := s.Usages(cmd.Context(), after, registry.MaxPage)
		if err != nil {
			return nil, err
		}
		for _, u := range page {
			if match(u.Name) {
				list = append(list, u)
			}
		}
		if len(page) < registry.MaxPage {
			return list, nil
		}
		after = page[len(page)-1].Name
	}
}

// A bound is one number of a quota.
type bound struct {
	what        string
	used, limit int64
	text        func(int64) string
}

// boundsOf returns what a quota bounds.
func boundsOf(q registry.QuotaUsage) (list []bound) {
	number := func(n int64) string { return strconv.FormatInt(n, 10) }
	for _, b := range []bound{
		{"bytes", q.Used.Bytes, q.Limit.Bytes, byteCount},
		{"repositories", q.Used.Repositories, q.Limit.Repositories, number},
		{"tags", q.Used.Tags, q.Limit.Tags, number},
	} {
		if b.limit > 0 {
			list = append(list, b)
		}
	}
	return list
}

func (b bound) String() string {
	text := b.text(b.used) + " of " + b.text(b.limit)
	if b.what != "bytes" {
		text += " " + b.what
	}
	return text
}

// share returns how much of the bound is used, in whole percent.
func (b bound) share() int64 { return int64(float64(b.used) / float64(b.limit) * 100) }

// fullest tells of the quota that has the least room left.
func fullest(quotas []registry.QuotaUsage) string {
	text, most := "", int64(-1)
	for _, q := range quotas {
		for _, b := range boundsOf(q) {
			if b.share() > most {
				text, most = fmt.Sprintf("%d%%: %s, %s", b.share(), b, q.Rule), b.share()
			}
		}
	}
	return text
}

func newRepoShow() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "show NAME",
		Short:   "Show what a repository holds, and its quotas",
		Example: "  berth repo show team/app\n  berth repo show team/app -o json",
		Args:    cobra.ExactArgs(1),
		RunE: operation(func(cmd *cobra.Command, args []string) error {
			name, err := oci.ParseName(args[0])
			if err != nil {
				return err
			}
			return withRepositories(cmd, func(s stored) error {
				u, err := s.UsageOf(cmd.Context(), name)
				if err != nil {
					return err
				}
				rows := [][]string{
					{"name", string(u.Name)}, {"created", ago(u.Created)}, {"tags", strconv.FormatInt(u.Tags, 10)},
					{"manifests", strconv.FormatInt(u.Manifests, 10)}, {"bytes", fmt.Sprintf("%s (%d)", byteCount(u.Bytes), u.Bytes)},
				}
				for _, q := range u.Quotas {
					for _, b := range boundsOf(q) {
						rows = append(rows, []string{q.Rule, fmt.Sprintf("%s (%d%%)", b, b.share())})
					}
				}
				return printResult(cmd, u, rows)
			})
		}),
	}
	addOutputFlag(cmd, "table")
	return cmd
}

func newRepoDelete() *cobra.Command {
	return &cobra.Command{
		Use:   "delete NAME",
		Short: "Delete a repository and all that is in it",
		Long: "Deletes all tags, manifests and blobs of the repository, the tags first. What others push to it\n" +
			"meanwhile stays. When it is interrupted, another call goes on. Bytes go with the next sweep after\n" +
			"the grace (gc.grace).",
		Example: "  berth repo delete team/old-app",
		Args:    cobra.ExactArgs(1),
		RunE: operation(func(cmd *cobra.Command, args []string) error {
			return withRepositories(cmd, func(s stored) error { return s.DeleteRepository(cmd.Context(), args[0]) })
		}),
	}
}

func newRepoCheck() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Count anew what repositories hold",
		Long: "Counts what every repository holds, and mends the totals that are wrong, which quotas are compared\n" +
			"with. The server does so once a day. It exits with 1 when one was wrong.",
		Example: "  berth repo check\n  berth repo check -o json",
		Args:    cobra.NoArgs,
		RunE: operation(func(cmd *cobra.Command, _ []string) error {
			return withRepositories(cmd, func(s stored) error {
				c, err := s.CheckUsage(cmd.Context())
				if err != nil {
					return err
				}
				rows := [][]string{{"NAME", "BYTES", "COUNTED", "TAGS", "COUNTED"}}
				for _, e := range c.Wrong {
					rows = append(rows, []string{
						string(e.Name), strconv.FormatInt(e.Was.Bytes, 10), strconv.FormatInt(e.Counted.Bytes, 10),
						strconv.FormatInt(e.Was.Tags, 10), strconv.FormatInt(e.Counted.Tags, 10),
					})
				}
				if err := printResult(cmd, c, rows); err != nil || len(c.Wrong) == 0 {
					return err
				}
				return fmt.Errorf("%d of %d repositories had wrong totals, which are mended", len(c.Wrong), c.Repositories)
			})
		}),
	}
	addOutputFlag(cmd, "table")
	return cmd
}
