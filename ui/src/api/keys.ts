// The session key pair: made here, not extractable, kept in the browser's own key store (IndexedDB) and destroyed at log-out.

import type { Bytes } from "./encoding";

export interface StoredSession {
  session_id: string;
  username: string;
  expires_at: string;
  privateKey: CryptoKey;
  /** The other half; missing in what an earlier version of this page stored. */
  publicKey?: Bytes;
}

const DATABASE = "borealis";
const STORE = "session";
const SLOT = "current";

/** Makes an Ed25519 pair whose private half cannot leave the browser. */
export async function makeSessionKey(): Promise<{ privateKey: CryptoKey; publicKey: Bytes }> {
  const pair = (await crypto.subtle.generateKey("Ed25519", false, ["sign", "verify"])) as CryptoKeyPair;
  const publicKey = new Uint8Array(await crypto.subtle.exportKey("raw", pair.publicKey));
  return { privateKey: pair.privateKey, publicKey };
}

function open(): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(DATABASE, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE);
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error ?? new Error("the browser's key store does not open"));
  });
}

async function transact<T>(mode: IDBTransactionMode, act: (store: IDBObjectStore) => IDBRequest<T>): Promise<T> {
  const database = await open();
  try {
    return await new Promise<T>((resolve, reject) => {
      const transaction = database.transaction(STORE, mode);
      const request = act(transaction.objectStore(STORE));
      transaction.oncomplete = () => resolve(request.result);
      transaction.onerror = () => reject(transaction.error ?? new Error("the browser's key store refused"));
      transaction.onabort = () => reject(transaction.error ?? new Error("the browser's key store refused"));
    });
  } finally {
    database.close();
  }
}

export async function loadSession(): Promise<StoredSession | null> {
  const found = await transact<StoredSession | undefined>("readonly", (store) => store.get(SLOT));
  return found ?? null;
}

export async function storeSession(session: StoredSession): Promise<void> {
  await transact("readwrite", (store) => store.put(session, SLOT));
}

export async function destroySession(): Promise<void> {
  await transact("readwrite", (store) => store.delete(SLOT));
}
