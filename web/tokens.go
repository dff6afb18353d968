package web

import (
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"berth/auth"
)

// lifetimes are the days that a new token can live.
var lifetimes = [...]int{7, 30, 90, 180, 365}

const defaultLifetime = 90

// A tokensPage is what the page of tokens shows.
type tokensPage struct {
	Tokens    []Token
	Lifetimes []int
	Default   int
	Wrong     string
	// A token that was just made: it is shown this once.
	Made, Secret string
	Host         string
}

func (v *visit) showTokens() error {
	return v.withUser(func(user auth.Identity) error { return v.tokens(http.StatusOK, user, tokensPage{}) })
}

func (v *visit) tokens(status int, user auth.Identity, page tokensPage) error {
	if v.o.Tokens == nil {
		return v.nothing()
	}
	tokens, err := v.o.Tokens.List(v.r.Context(), user.Subject)
	if err != nil {
		return err
	}
	_, page.Host, _ = strings.Cut(v.origin.Base, "://")
	page.Host, _, _ = strings.Cut(page.Host, "/")
	page.Tokens, page.Lifetimes, page.Default = tokens, lifetimes[:], defaultLifetime
	return v.show(status, "tokens", user, "Personal tokens", page)
}

func (v *visit) newToken() error {
	return v.withUser(func(user auth.Identity) error {
		if v.o.Tokens == nil {
			return v.nothing()
		}
		if err := v.r.ParseForm(); err != nil {
			return badForm(err)
		}
		form := v.r.PostForm
		days, err := strconv.Atoi(form.Get("days"))
		if err != nil || !slices.Contains(lifetimes[:], days) {
			return v.tokens(http.StatusBadRequest, user, tokensPage{Wrong: "Choose how long the token is to live."})
		}
		token := NewToken{
			Name:         strings.TrimSpace(form.Get("name")),
			Repositories: strings.Fields(form.Get("repositories")),
			Actions:      form["action"],
			Expires:      v.o.Now().Add(time.Duration(days) * 24 * time.Hour),
		}
		secret, err := v.o.Tokens.New(v.r.Context(), user.Subject, token)
		var invalid *InvalidError
		if errors.As(err, &invalid) {
			return v.tokens(http.StatusBadRequest, user, tokensPage{Wrong: sentence(invalid.Reason)})
		}
		if err != nil {
			return err
		}
		return v.tokens(http.StatusOK, user, tokensPage{Made: token.Name, Secret: secret.Reveal()})
	})
}

func (v *visit) revokeToken() error {
	return v.withUser(func(user auth.Identity) error {
		if v.o.Tokens == nil {
			return v.nothing()
		}
		if err := v.r.ParseForm(); err != nil {
			return badForm(err)
		}
		if err := v.o.Tokens.Revoke(v.r.Context(), user.Subject, v.r.PostForm.Get("id")); err != nil {
			return err
		}
		return v.redirect("/ui/tokens")
	})
}
