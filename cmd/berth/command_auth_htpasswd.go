package main

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"berth/auth"
	"berth/auth/htpasswd"
)

// What is said of the cost of a hash.
const (
	weakCost    = 10 // below it, guessing is cheap for whom has the file
	slowCompare = 500 * time.Millisecond
)

// tryHtpasswd looks for a user in the password file.
func tryHtpasswd(cmd *cobra.Command, cfg *Config, q trialQuestion) (*trial, error) {
	path := cfg.Auth.Htpasswd.Path
	if path == "" {
		return nil, errors.New("auth.htpasswd is not configured")
	}
	if q.name != "" {
		return nil, errors.New("there is only one password file: leave the name out")
	}
	r := &trial{Kind: "htpasswd", User: q.user, good: q.user + " is in the file, and may log in"}
	hasher := auth.NewHasher(auth.HasherOptions{Cost: 4}) // only what the file itself costs
	var file *htpasswd.File
	ok := r.do("file", func() (_ []string, _ string, err error) {
		file, err = htpasswd.Open(path, hasher, htpasswd.Options{Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			return nil, "", err
		}
		if problem := file.Degraded(); problem != "" {
			return nil, "", errors.New(problem)
		}
		return []string{fmt.Sprintf("%s, users: %d", path, file.Users())}, "", nil
	})
	if !ok {
		return r, nil
	}
	var entry htpasswd.Entry
	ok = r.do("user", func() ([]string, string, error) {
		var found bool
		if entry, found = file.Entry(q.user); !found {
			return nil, "names are compared letter by letter; htpasswd -B " + path + " USER adds one", fmt.Errorf("%s is not in the file", q.user)
		}
		return []string{fmt.Sprintf("line %d", entry.Line)}, "", nil
	})
	ok = ok && r.do("hash", func() ([]string, string, error) { return judgeHash(entry) })
	if ok {
		r.checkOwner(cmd, cfg, q.user, 0)
	}
	if !r.OK || q.password == nil {
		return r, nil
	}
	r.good = q.user + " would get in"
	r.do("password", func() ([]string, string, error) {
		begin := time.Now()
		_, err := file.Authenticate(cmd.Context(), auth.Credentials{User: q.user, Password: *q.password})
		hint := ""
		if time.Since(begin) > slowCompare && err == nil {
			hint = fmt.Sprintf("a first login takes this long every time: htpasswd -B -C %d makes a cheaper line", weakCost)
		}
		return nil, hint, err
	})
	return r, nil
}

// judgeHash says how a password is kept, and what would be better.
func judgeHash(entry htpasswd.Entry) (detail []string, advice string, err error) {
	if entry.Problem != "" {
		return nil, "", errors.New(entry.Problem)
	}
	if entry.Cost < weakCost {
		advice = fmt.Sprintf("who gets hold of the file guesses quickly at cost %d: make the line anew with htpasswd -B -C %d", entry.Cost, weakCost)
	}
	return []string{fmt.Sprintf("%s, cost %d", entry.Scheme, entry.Cost)}, advice, nil
}
