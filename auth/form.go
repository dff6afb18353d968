package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"hash/crc32"
	"strings"
)

// RobotPrefix begins the name of every robot, and no other's.
const RobotPrefix = "robot:"

// A Form is the prefix of a kind of credentials that berth makes. Behind it are
// 260 random bits and a checksum, both in base32: whoever finds one, in a log or
// in a repository, can tell what it is, and a mistyped one costs no query.
type Form string

// The forms.
const (
	RefreshForm Form = "bth_rt_" // stands for a login with a password
	RobotForm   Form = "bth_rb_" // a robot's
	TokenForm   Form = "bth_pt_" // a personal token
)

const (
	randomSize   = 52
	checksumSize = 7
)

// New makes a credential of that form.
func (f Form) New() Secret {
	random := rand.Text() + rand.Text()
	return Secret(string(f) + random + checksum(random))
}

// Begins reports whether s has the prefix of f, mistyped or not.
func (f Form) Begins(s Secret) bool { return strings.HasPrefix(string(s), string(f)) }

// Fits reports whether s is of that form, checksum and all.
func (f Form) Fits(s Secret) bool {
	body, ok := strings.CutPrefix(string(s), string(f))
	return ok && len(body) == randomSize+checksumSize && checksum(body[:randomSize]) == body[randomSize:]
}

func checksum(random string) string {
	sum := binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE([]byte(random)))
	return base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum)
}

// Hash returns the SHA-256 of a secret that is random itself, which is how such
// a one is kept and found.
func (s Secret) Hash() []byte {
	sum := sha256.Sum256([]byte(s))
	return sum[:]
}
