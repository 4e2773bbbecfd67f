/*
 * Sends RTP-like datagrams from many ports of the loopback to one port at a steady rate, counts them as they come out at
 * a sink port, and measures how long they took. One thread, so that a forwarder under test has the other core.
 *
 *     load <target port> <sink port> <first source port> <flows> <bytes> <packets a second> <milliseconds> [channel]
 *
 * With a TURN channel each goes as ChannelData (RFC 8656 section 12.4), 4 bytes longer.
 *
 * Prints {"sent":n,"received":n,"p50_us":x,"p99_us":x,"max_us":x}.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum { BUCKETS = 2000000, BATCH = 64, MAX_SIZE = 1500 };

static uint32_t histogram[BUCKETS];
static long sent, received;

static int64_t clock_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int open_port(int port) {
  int fd = socket(AF_INET, SOCK_DGRAM, 0), size = 8 << 20;
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
  setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
  if (bind(fd, (struct sockaddr *)&at, sizeof at) != 0) {
    perror("bind");
    exit(1);
  }
  return fd;
}

static void receive_all(int fd) {
  static uint8_t packets[BATCH][MAX_SIZE + 64];
  struct iovec parts[BATCH];
  struct mmsghdr messages[BATCH];
  for (;;) {
    memset(messages, 0, sizeof messages);
    for (int i = 0; i < BATCH; i++) {
      parts[i] = (struct iovec){packets[i], sizeof packets[i]};
      messages[i].msg_hdr.msg_iov = &parts[i];
      messages[i].msg_hdr.msg_iovlen = 1;
    }
    int count = recvmmsg(fd, messages, BATCH, MSG_DONTWAIT, NULL);
    if (count <= 0) return;
    int64_t now = clock_ns();
    for (int i = 0; i < count; i++) {
      int64_t at;
      if (messages[i].msg_len < sizeof at) continue;
      memcpy(&at, packets[i] + messages[i].msg_len - sizeof at, sizeof at);
      int64_t us = (now - at) / 1000;
      histogram[us < 0 ? 0 : us >= BUCKETS ? BUCKETS - 1 : us] += 1;
      received += 1;
    }
  }
}

static double quantile(double share) {
  long wanted = (long)(received * share), seen = 0;
  for (long us = 0; us < BUCKETS; us++)
    if ((seen += histogram[us]) > wanted) return us;
  return BUCKETS;
}

int main(int argc, char **argv) {
  if (argc != 8 && argc != 9) return fprintf(stderr, "usage: see the head of load.c\n"), 2;
  int target = atoi(argv[1]), base = atoi(argv[3]), flows = atoi(argv[4]), size = atoi(argv[5]);
  double rate = atof(argv[6]);
  int64_t duration = atoll(argv[7]) * 1000000;
  if (size < 20 || size > MAX_SIZE) return 2;
  int sink = open_port(atoi(argv[2])), *sources = malloc(sizeof(int) * flows);
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(target), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  for (int i = 0; i < flows; i++) sources[i] = open_port(base + i);
  uint8_t framed[MAX_SIZE + 4] = {0}, *packet = framed + 4, *datagram = argc == 9 ? framed : packet;
  uint16_t header[2] = {htons(argc == 9 ? atoi(argv[8]) : 0), htons(size)};
  memcpy(framed, header, sizeof header);
  packet[0] = 0x80, packet[1] = 111;
  int64_t start = clock_ns(), now;
  while ((now = clock_ns()) - start < duration) {
    long due = (long)((now - start) * rate / 1e9);
    // A hiccup of this machine must not become a burst that no client would send.
    for (int burst = 0; sent < due && burst < 32; burst++, sent++) {
      uint32_t ssrc = htonl(1000 + sent % flows);
      memcpy(packet + 8, &ssrc, sizeof ssrc);
      int64_t at = clock_ns();
      memcpy(packet + size - sizeof at, &at, sizeof at);
      sendto(sources[sent % flows], datagram, size + (packet - datagram), 0, (struct sockaddr *)&to, sizeof to);
    }
    receive_all(sink);
  }
  for (int64_t end = clock_ns() + 300000000; clock_ns() < end;) receive_all(sink);
  long max = BUCKETS - 1;
  while (max > 0 && histogram[max] == 0) max--;
  printf("{\"sent\":%ld,\"received\":%ld,\"p50_us\":%.0f,\"p99_us\":%.0f,\"max_us\":%ld}\n", sent, received, quantile(0.5),
         quantile(0.99), max);
  return 0;
}
