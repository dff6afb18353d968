package main

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"time"

	"golang.org/x/crypto/bcrypt"
)

var basicValue = base64.StdEncoding.EncodeToString([]byte(user + ":" + password))

// standIn serves tokens as token servers for Distribution commonly do: every
// request costs a bcrypt of cost 10 and an RS256 signature. It is what berth's
// token server is measured against, as Distribution has none.
func standIn(addr string) error {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	hash, err := bcrypt.GenerateFromPassword([]byte(password), 10)
	if err != nil {
		return err
	}
	server := &http.Server{
		Addr:              addr,
		ReadHeaderTimeout: 10 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			name, given, _ := r.BasicAuth()
			if name != user || bcrypt.CompareHashAndPassword(hash, []byte(given)) != nil {
				http.Error(w, "unauthorized", http.StatusUnauthorized)
				return
			}
			token, err := sign(key, name, r.FormValue("scope"))
			if err != nil {
				http.Error(w, "no token", http.StatusInternalServerError)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(map[string]any{"token": token, "expires_in": 900})
		}),
	}
	return server.ListenAndServe()
}

func sign(key *rsa.PrivateKey, name, scope string) (string, error) {
	now := time.Now()
	claims, err := json.Marshal(map[string]any{
		"iss": service, "aud": service, "sub": name, "jti": rand.Text(), "scope": scope,
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(15 * time.Minute).Unix(),
	})
	if err != nil {
		return "", err
	}
	text := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"RS256","typ":"JWT"}`)) + "." + base64.RawURLEncoding.EncodeToString(claims)
	sum := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		return "", err
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}

func (l *lab) startStandIn() error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	addr, err := freeAddr()
	if err != nil {
		return err
	}
	p, err := l.run("standin", addr, self, "-standin", addr)
	if err != nil {
		return err
	}
	l.standIn = &target{name: "bcrypt and RS256", at: map[mode]*process{basic: p}}
	return nil
}
