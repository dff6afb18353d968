package token

import (
	"bytes"
	"context"
	"slices"
	"sync"
	"time"
)

// memory is a Store.
type memory struct {
	mu     sync.Mutex
	tokens []RefreshToken
	keys   []Key
	err    error // what every call returns, when set
}

func (m *memory) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.err = err
}

func (m *memory) AddRefreshToken(_ context.Context, t RefreshToken) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tokens = slices.Insert(m.tokens, 0, t)
	return m.err
}

func (m *memory) RefreshToken(_ context.Context, hash []byte) (RefreshToken, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, t := range m.tokens {
		if bytes.Equal(t.Hash, hash) {
			return t, m.err
		}
	}
	return RefreshToken{}, ErrNotExist
}

func (m *memory) RefreshTokens(_ context.Context, name string) ([]RefreshToken, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []RefreshToken
	for _, t := range m.tokens {
		if name == "" || t.Subject.Name == name {
			list = append(list, t)
		}
	}
	return list, m.err
}

func (m *memory) DeleteRefreshToken(_ context.Context, id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := len(m.tokens)
	m.tokens = slices.DeleteFunc(m.tokens, func(t RefreshToken) bool { return t.ID == id })
	if len(m.tokens) == n {
		return ErrNotExist
	}
	return m.err
}

func (m *memory) TouchRefreshTokens(_ context.Context, used map[string]time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return m.err
	}
	for i, t := range m.tokens {
		if at, ok := used[t.ID]; ok {
			m.tokens[i].LastUsed = at
		}
	}
	return nil
}

func (m *memory) DeleteIdleRefreshTokens(_ context.Context, before time.Time) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := len(m.tokens)
	m.tokens = slices.DeleteFunc(m.tokens, func(t RefreshToken) bool { return t.LastUsed.Before(before) })
	return n - len(m.tokens), m.err
}

func (m *memory) Keys(context.Context) ([]Key, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.keys), m.err
}

func (m *memory) AddKey(_ context.Context, k Key, newest string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err == nil && (len(m.keys) == 0 && newest != "" || len(m.keys) > 0 && m.keys[0].ID != newest) {
		return ErrOtherKey
	}
	m.keys = slices.Insert(m.keys, 0, k)
	return m.err
}

func (m *memory) DeleteKey(_ context.Context, id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.keys = slices.DeleteFunc(m.keys, func(k Key) bool { return k.ID == id })
	return m.err
}
