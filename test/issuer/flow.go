package issuer

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// A grant is what a code or a refresh token stands for.
type grant struct {
	client, redirect, challenge, nonce, subject string
}

func (i *Issuer) metadata(w http.ResponseWriter, r *http.Request) {
	m := map[string]any{
		"issuer":                                i.URL,
		"authorization_endpoint":                i.URL + "/authorize",
		"token_endpoint":                        i.URL + "/token",
		"userinfo_endpoint":                     i.URL + "/userinfo",
		"jwks_uri":                              i.URL + "/keys",
		"response_types_supported":              []string{"code"},
		"subject_types_supported":               []string{"public"},
		"id_token_signing_alg_values_supported": []string{"ES256"},
		"scopes_supported":                      []string{"openid", "profile", "groups", "offline_access"},
	}
	if wrong := i.current().WrongMetadata; wrong != nil {
		wrong(m)
	}
	answer(w, http.StatusOK, m)
}

// keys publishes the key set, whole or not.
func (i *Issuer) keys(w http.ResponseWriter, r *http.Request) {
	f, set := i.current(), i.KeySet()
	w.Header().Set("Content-Type", "application/json")
	switch {
	case f.HugeKeys:
		_, _ = w.Write([]byte(`{"padding":"`))
		for range 10 {
			if _, err := w.Write(make([]byte, 1<<20)); err != nil {
				return
			}
		}
		_, _ = w.Write([]byte(`"}`))
	case f.SlowKeys:
		i.drip(w, r, set)
	default:
		_, _ = w.Write(set)
	}
}

// drip sends a byte a second until somebody gives up.
func (i *Issuer) drip(w http.ResponseWriter, r *http.Request, data []byte) {
	for n := range data {
		if _, err := w.Write(data[n : n+1]); err != nil {
			return
		}
		_ = http.NewResponseController(w).Flush()
		select {
		case <-time.After(time.Second):
		case <-i.done:
			return
		case <-r.Context().Done():
			return
		}
	}
}

// authorize lets the current user in without a question.
func (i *Issuer) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	target, err := url.Parse(q.Get("redirect_uri"))
	if err != nil || q.Get("client_id") != ClientID || q.Get("response_type") != "code" || q.Get("code_challenge_method") != "S256" {
		http.Error(w, "the request is wrong", http.StatusBadRequest)
		return
	}
	code := rand.Text()
	i.mu.Lock()
	i.codes[code] = grant{ClientID, q.Get("redirect_uri"), q.Get("code_challenge"), q.Get("nonce"), i.user}
	i.mu.Unlock()
	target.RawQuery = url.Values{"code": {code}, "state": {q.Get("state")}}.Encode()
	http.Redirect(w, r, target.String(), http.StatusFound)
}

// token redeems a code or a refresh token, each for its client alone.
func (i *Issuer) token(w http.ResponseWriter, r *http.Request) {
	client, secret, ok := r.BasicAuth()
	if !ok {
		client, secret = r.PostFormValue("client_id"), r.PostFormValue("client_secret")
	}
	if client != ClientID || secret != ClientSecret {
		refuse(w, http.StatusUnauthorized, "invalid_client")
		return
	}
	switch r.PostFormValue("grant_type") {
	case "authorization_code":
		i.redeemCode(w, r)
	case "refresh_token":
		i.redeemRefresh(w, r)
	default:
		refuse(w, http.StatusBadRequest, "unsupported_grant_type")
	}
}

func (i *Issuer) redeemCode(w http.ResponseWriter, r *http.Request) {
	code := r.PostFormValue("code")
	i.mu.Lock()
	g, ok := i.codes[code]
	delete(i.codes, code)
	i.mu.Unlock()
	sum := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
	if !ok || g.redirect != r.PostFormValue("redirect_uri") || g.challenge != base64.RawURLEncoding.EncodeToString(sum[:]) {
		refuse(w, http.StatusBadRequest, "invalid_grant")
		return
	}
	i.grant(w, g, true)
}

// redeemRefresh gives a new refresh token for the old one, which is void.
func (i *Issuer) redeemRefresh(w http.ResponseWriter, r *http.Request) {
	f := i.current()
	switch f.RefreshError {
	case "":
	case "server_error":
		refuse(w, http.StatusInternalServerError, f.RefreshError)
		return
	default:
		refuse(w, http.StatusBadRequest, f.RefreshError)
		return
	}
	raw := r.PostFormValue("refresh_token")
	i.mu.Lock()
	g, ok := i.tokens[raw]
	delete(i.tokens, raw)
	ok = ok && !i.users[g.subject].Disabled
	i.mu.Unlock()
	if !ok {
		refuse(w, http.StatusBadRequest, "invalid_grant")
		return
	}
	g.nonce = ""
	i.grant(w, g, !f.BareRefresh)
}

// grant answers with the tokens for g.
func (i *Issuer) grant(w http.ResponseWriter, g grant, withID bool) {
	f := i.current()
	access, refresh := rand.Text(), rand.Text()
	i.mu.Lock()
	i.access[access] = g.subject
	i.tokens[refresh] = g
	user := i.users[g.subject]
	i.mu.Unlock()
	a := map[string]any{"access_token": access, "token_type": "Bearer", "expires_in": 300}
	if !f.NoRefresh {
		a["refresh_token"] = refresh
	}
	if f.AccessToken != "" {
		a["access_token"] = f.AccessToken
	}
	if withID {
		a["id_token"] = i.idToken(g, user, access)
	}
	answer(w, http.StatusOK, a)
}

func (i *Issuer) idToken(g grant, user User, access string) string {
	f := i.current()
	sum := sha256.Sum256([]byte(access))
	claims := map[string]any{"sub": user.Subject, "aud": g.client, "at_hash": base64.RawURLEncoding.EncodeToString(sum[:16])}
	if !f.OnlyUserInfo {
		maps.Copy(claims, user.Claims)
	}
	if g.nonce != "" && !f.IgnoreNonce {
		claims["nonce"] = g.nonce
	}
	if f.IDToken != nil {
		f.IDToken(claims)
	}
	if f.Sign != nil {
		return f.Sign(claims)
	}
	return i.Token(claims)
}

func (i *Issuer) userInfo(w http.ResponseWriter, r *http.Request) {
	const scheme = "Bearer "
	header := r.Header.Get("Authorization")
	i.mu.Lock()
	subject, ok := "", false
	if len(header) > len(scheme) {
		subject, ok = i.access[header[len(scheme):]]
	}
	user := i.users[subject]
	i.mu.Unlock()
	if !ok {
		refuse(w, http.StatusUnauthorized, "invalid_token")
		return
	}
	claims := map[string]any{"sub": subject}
	maps.Copy(claims, user.Claims)
	if change := i.current().UserInfo; change != nil {
		change(claims)
	}
	answer(w, http.StatusOK, claims)
}

// Unsigned returns claims as a token of the algorithm none.
func Unsigned(claims map[string]any) string {
	payload, err := json.Marshal(claims)
	if err != nil {
		panic(err) // of a test
	}
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(`{"alg":"none","typ":"JWT"}`)) + "." + encode(payload) + "."
}

// Confused returns claims as a token that takes the public key of i for a shared
// secret.
func (i *Issuer) Confused(claims map[string]any) string {
	_, id := i.Key()
	return Sign(jose.HS256, i.KeySet(), id, claims)
}

func (i *Issuer) current() Faults {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.faults
}

func refuse(w http.ResponseWriter, status int, code string) {
	answer(w, status, map[string]any{"error": code})
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // of maps; who has left is not there to be told
}
