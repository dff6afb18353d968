package web

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"berth/auth"
	"berth/auth/session"
)

// grantDevice is the grant type of RFC 8628, section 3.4.
const grantDevice = "urn:ietf:params:oauth:grant-type:device_code"

// deviceLife is how long a token lives that a command line got.
const deviceLife = 90 * 24 * time.Hour

// A devicePage is what the page of logins at a command line shows.
type devicePage struct {
	Code   string // that is to be confirmed
	Client string
	Addr   string
	Began  time.Time
	Wrong  string
	Done   string
}

func (v *visit) showDevice() error {
	return v.withUser(func(user auth.Identity) error { return v.device(http.StatusOK, user, devicePage{}) })
}

func (v *visit) device(status int, user auth.Identity, page devicePage) error {
	if v.o.Tokens == nil {
		return v.nothing()
	}
	return v.show(status, "device", user, "Sign in a command line", page)
}

// confirmDevice shows what a code stands for, and then lets it in or not.
func (v *visit) confirmDevice() error {
	return v.withUser(func(user auth.Identity) error {
		if err := v.r.ParseForm(); err != nil {
			return badForm(err)
		}
		form := v.r.PostForm
		code := plainCode(form.Get("code"))
		if wait := v.guesses.spent(user.Name); wait > 0 {
			return &auth.ThrottledError{RetryAfter: wait}
		}
		found, err := v.devices.find(v.r.Context(), code)
		if errors.Is(err, session.ErrNotExist) {
			v.guesses.count(user.Name)
			return v.unknownCode(user)
		}
		if err != nil {
			return err
		}
		page := devicePage{Code: spacedCode(code), Client: found.Client, Addr: addrText(found.Addr), Began: found.Began}
		switch form.Get("decision") {
		case "":
			return v.device(http.StatusOK, user, page)
		case "allow":
			page.Done = "The command line is signed in as " + user.Name + ". You can close this page."
		case "deny":
			page.Done = "The command line was not signed in. You can close this page."
		default:
			return badForm(nil)
		}
		err = v.devices.decide(v.r.Context(), code, user, form.Get("decision") == "allow")
		if errors.Is(err, session.ErrNotExist) {
			return v.unknownCode(user)
		}
		if err != nil {
			return err
		}
		return v.device(http.StatusOK, user, page)
	})
}

func (v *visit) unknownCode(user auth.Identity) error {
	return v.device(http.StatusBadRequest, user, devicePage{Wrong: "That code is not known, or no longer: run the command again."})
}

func addrText(a netip.Addr) string {
	if !a.IsValid() {
		return "an address that is not known"
	}
	return a.String()
}

// beginDevice begins the login of a command line (RFC 8628, section 3.1).
func (v *visit) beginDevice() error {
	if v.o.Tokens == nil {
		return v.nothing()
	}
	if err := v.r.ParseForm(); err != nil {
		return badForm(err)
	}
	secret, d, wait, err := v.devices.begin(v.r.Context(), shown(v.r.PostForm.Get("client_name"), 64), v.origin.Addr)
	if err != nil {
		return err
	}
	if wait > 0 {
		v.w.Header().Set("Retry-After", strconv.Itoa(int(wait.Seconds())+1))
		return v.oauthError(http.StatusTooManyRequests, "slow_down", "too many logins have been begun: wait, then try again")
	}
	return v.answer(http.StatusOK, map[string]any{
		"device_code":      secret,
		"user_code":        spacedCode(d.Code),
		"verification_uri": v.origin.Base + "/ui/device",
		"expires_in":       int(deviceTime.Seconds()),
		"interval":         int(pollInterval.Seconds()),
	})
}

// pollDevice answers whether a login was confirmed, and with a personal token
// when it was, once (RFC 8628, section 3.4).
func (v *visit) pollDevice() error {
	if v.o.Tokens == nil {
		return v.nothing()
	}
	if err := v.r.ParseForm(); err != nil {
		return badForm(err)
	}
	if v.r.PostForm.Get("grant_type") != grantDevice {
		return v.oauthError(http.StatusBadRequest, "unsupported_grant_type", "grant_type must be "+grantDevice)
	}
	d, err := v.devices.poll(v.r.Context(), v.r.PostForm.Get("device_code"))
	switch {
	case errors.Is(err, errPending), errors.Is(err, errSlowDown), errors.Is(err, errExpired), errors.Is(err, errDenied):
		return v.oauthError(http.StatusBadRequest, err.Error(), "")
	case err != nil:
		return err
	}
	id, err := v.o.Verifier.Resolve(v.r.Context(), d.User)
	switch {
	case errors.Is(err, auth.ErrNoMatch), errors.Is(err, auth.ErrBadCredentials), err == nil && id.Version != d.Version:
		return v.oauthError(http.StatusBadRequest, errDenied.Error(), "the user who confirmed it is no more")
	case err != nil:
		return err
	}
	expires := v.o.Now().Add(deviceLife)
	name := strings.TrimSpace(d.Client + " " + rand.Text()[:4]) // each login has a token of its own
	secret, err := v.o.Tokens.New(v.r.Context(), id.Subject, NewToken{Name: name, Expires: expires})
	var invalid *InvalidError
	if errors.As(err, &invalid) {
		return v.oauthError(http.StatusBadRequest, errDenied.Error(), invalid.Reason)
	}
	if err != nil {
		return err
	}
	return v.answer(http.StatusOK, map[string]any{
		"access_token": secret.Reveal(),
		"token_type":   "N_A", // RFC 8693, section 2.2.1: it is a password
		"username":     id.Name,
		"expires_in":   int(deviceLife.Seconds()),
	})
}

func (v *visit) oauthError(status int, code, description string) error {
	body := map[string]any{"error": code}
	if description != "" {
		body["error_description"] = description
	}
	return v.answer(status, body)
}

func (v *visit) answer(status int, body map[string]any) error {
	v.w.Header().Set("Content-Type", "application/json")
	v.w.WriteHeader(status)
	_ = json.NewEncoder(v.w).Encode(body) // of maps; who has left is not there to be told
	return nil
}
