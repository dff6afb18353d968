package gcs

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Account is the service account.
const Account = "berth@project.iam.gserviceaccount.com"

// KeyFile makes a key of the account, which requests need from then on, and
// returns its key file.
func (s *Server) KeyFile(t testing.TB) []byte {
	t.Helper()
	key := NewKey(t)
	s.Key = &key.PublicKey
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	file, err := json.Marshal(map[string]string{
		"type": "service_account", "project_id": "project", "private_key_id": "1", "client_email": Account,
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), "token_uri": s.URL + "/token",
	})
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// NewKey makes a key.
func NewKey(t testing.TB) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (s *Server) authorized(r *http.Request) bool {
	if s.Key == nil {
		return true
	}
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	until, ok := s.tokens[token]
	return ok && time.Now().Before(until)
}

// newToken gives a token. The caller holds the lock.
func (s *Server) newToken(w http.ResponseWriter) {
	life := s.TokenLife
	if life == 0 {
		life = time.Hour
	}
	s.requests["token"]++
	token := rand.Text()
	s.tokens[token] = time.Now().Add(life)
	answer(w, map[string]any{"access_token": token, "token_type": "Bearer", "expires_in": int(life.Seconds())})
}

// token gives a token to whoever has signed for it.
func (s *Server) token(w http.ResponseWriter, body []byte) {
	form, err := url.ParseQuery(string(body))
	parts := strings.Split(form.Get("assertion"), ".")
	if err != nil || len(parts) != 3 || s.Key == nil {
		refuse(w, http.StatusBadRequest, "invalid_grant")
		return
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	hash := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if err != nil || rsa.VerifyPKCS1v15(s.Key, crypto.SHA256, hash[:], signature) != nil {
		refuse(w, http.StatusUnauthorized, "invalid_grant")
		return
	}
	s.newToken(w)
}

// metadata is the server that a machine asks for its account.
func (s *Server) metadata(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Metadata-Flavor", "Google")
	switch {
	case r.Header.Get("Metadata-Flavor") != "Google":
		refuse(w, http.StatusForbidden, "Missing Metadata-Flavor")
	case strings.HasSuffix(r.URL.Path, "/token"):
		s.newToken(w)
	case strings.HasSuffix(r.URL.Path, "/email"):
		fmt.Fprint(w, Account)
	default:
		fmt.Fprint(w, "project")
	}
}

// signBlob signs for the account.
func (s *Server) signBlob(w http.ResponseWriter, r *http.Request, body []byte) {
	s.requests["sign"]++
	var in struct {
		Payload []byte `json:"payload"`
	}
	if s.Forbidden || s.SignFor == nil || !s.authorized(r) || !strings.Contains(r.URL.Path, "/"+Account+":") {
		refuse(w, http.StatusForbidden, "Permission 'iam.serviceAccounts.signBlob' denied")
		return
	}
	hash := [32]byte{}
	err := json.Unmarshal(body, &in)
	if err == nil {
		hash = sha256.Sum256(in.Payload)
		var signature []byte
		if signature, err = rsa.SignPKCS1v15(rand.Reader, s.SignFor, crypto.SHA256, hash[:]); err == nil {
			answer(w, map[string]any{"keyId": "1", "signedBlob": signature})
			return
		}
	}
	refuse(w, http.StatusBadRequest, err.Error())
}

// signed serves an object to whoever has a signed address, version 4.
func (s *Server) signed(w http.ResponseWriter, r *http.Request) {
	s.requests["signed"]++
	name, err := url.PathUnescape(strings.TrimPrefix(r.URL.EscapedPath(), "/"+Bucket+"/"))
	o := s.objects[name]
	if err != nil || !s.verify(r) {
		refuse(w, http.StatusForbidden, "SignatureDoesNotMatch")
		return
	}
	if o == nil {
		refuse(w, http.StatusNotFound, "NoSuchKey")
		return
	}
	send(w, r, o)
}

func (s *Server) verify(r *http.Request) bool {
	key := s.Key
	if key == nil && s.SignFor != nil {
		key = &s.SignFor.PublicKey
	}
	query, signature, ok := strings.Cut(r.URL.RawQuery, "&X-Goog-Signature=")
	v := r.URL.Query()
	at, err1 := time.Parse("20060102T150405Z", v.Get("X-Goog-Date"))
	seconds, err2 := strconv.Atoi(v.Get("X-Goog-Expires"))
	account, scope, _ := strings.Cut(v.Get("X-Goog-Credential"), "/")
	raw, err3 := hex.DecodeString(signature)
	if key == nil || !ok || err1 != nil || err2 != nil || err3 != nil || account != Account || seconds > 604800 ||
		time.Now().After(at.Add(time.Duration(seconds)*time.Second)) || scope != at.Format("20060102")+"/auto/storage/goog4_request" {
		return false
	}
	canonical := strings.Join([]string{r.Method, r.URL.EscapedPath(), query, "host:" + r.Host, "", "host", "UNSIGNED-PAYLOAD"}, "\n")
	inner := sha256.Sum256([]byte(canonical))
	text := strings.Join([]string{"GOOG4-RSA-SHA256", v.Get("X-Goog-Date"), scope, hex.EncodeToString(inner[:])}, "\n")
	hash := sha256.Sum256([]byte(text))
	return rsa.VerifyPKCS1v15(key, crypto.SHA256, hash[:], raw) == nil
}
