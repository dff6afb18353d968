package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"

	"github.com/spf13/cobra"

	"berth/admin"
	"berth/auth"
	"berth/auth/htpasswd"
	"berth/auth/ldap"
)

// checkOwner sees whether another backend has the name and is asked before, as
// then nobody gets in by this one. Of the directories, so many come before.
func (r *trial) checkOwner(cmd *cobra.Command, cfg *Config, name string, directories int) {
	r.do("owner of the name", func() ([]string, string, error) {
		owner, err := ownerBefore(cmd, cfg, r.Kind, name, directories)
		switch {
		case err != nil:
			return nil, fmt.Sprintf("whether another backend has the name cannot be told: %v", err), nil
		case owner != "":
			return nil, "rename one of the two: the first backend that knows a name owns it", fmt.Errorf("%s has a user %s too, and is asked first", owner, name)
		}
		return []string{"no backend that is asked before has it"}, "", nil
	})
}

// ownerBefore returns which backend has a name and is asked before one of the
// kind, or "".
func ownerBefore(cmd *cobra.Command, cfg *Config, kind, name string, directories int) (string, error) {
	if cfg.Auth.Accounts.Enabled {
		if has, err := hasAccount(cmd, cfg, name); has || err != nil {
			return "auth.accounts", err
		}
	}
	if kind == "htpasswd" {
		return "", nil
	}
	if path := cfg.Auth.Htpasswd.Path; path != "" {
		file, err := htpasswd.Open(path, auth.NewHasher(auth.HasherOptions{}), htpasswd.Options{Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			return "", err
		}
		if _, has := file.Entry(name); has {
			return "auth.htpasswd", nil
		}
	}
	for _, d := range cfg.Auth.LDAP[:directories] {
		if has, err := hasUser(cmd.Context(), d.options(nil, slog.New(slog.DiscardHandler)), name); has || err != nil {
			return "the directory " + d.Name, err
		}
	}
	return "", nil
}

// hasAccount reports whether berth itself keeps a user of that name. Where there
// are no data yet, none are made.
func hasAccount(cmd *cobra.Command, cfg *Config, name string) (has bool, err error) {
	if !cfg.hasData() && !answered(filepath.Join(cfg.dataDir(), socketName)) {
		return false, nil
	}
	err = withAPI(cmd, func(api admin.API) error {
		users, err := api.Users(cmd.Context())
		for _, u := range users {
			has = has || u.Name == name
		}
		return err
	})
	return has, err
}

// hasUser reports whether a directory knows a name.
func hasUser(ctx context.Context, o ldap.Options, name string) (bool, error) {
	d, err := ldap.New(o)
	if err != nil {
		return false, err
	}
	defer d.Close()
	_, err = d.Resolve(ctx, auth.Subject{Name: name})
	switch {
	case err == nil, errors.Is(err, auth.ErrBadCredentials):
		return true, nil
	case errors.Is(err, auth.ErrNoMatch):
		return false, nil
	}
	return false, err
}
