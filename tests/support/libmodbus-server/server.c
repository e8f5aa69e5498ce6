/* A Modbus TCP server of libmodbus, whose own macros lay whole numbers into the registers.
 *
 *     server PORT    says "ready" once it listens; a client at a time is served by `modbus_reply`; ends with its input
 *
 * holding 0 int16 -12345, 1 uint16 54321, 2 int32 and 4 uint32 (ABCD), 6 8 10 12 float 123.45 in ABCD CDAB BADC DCBA,
 * 14 int64; input 0 is 7; coil 0 and 3 are on, discrete 1.
 */
#include <errno.h>
#include <modbus.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    modbus_t *ctx = modbus_new_tcp("127.0.0.1", atoi(argv[1]));
    modbus_mapping_t *map = modbus_mapping_new(16, 16, 32, 16);
    if (ctx == NULL || map == NULL)
        return 1;
    map->tab_registers[0] = (uint16_t) -12345;
    map->tab_registers[1] = 54321;
    MODBUS_SET_INT32_TO_INT16(map->tab_registers, 2, -1234567890);
    MODBUS_SET_INT32_TO_INT16(map->tab_registers, 4, 3234567890u);
    /* 123.45 is 42 F6 E6 66. Not by modbus_set_float_abcd and its sisters: version 3.1.6 means another order by that. */
    static const uint16_t floats[] = {0x42F6, 0xE666, 0xE666, 0x42F6, 0xF642, 0x66E6, 0x66E6, 0xF642};
    memcpy(map->tab_registers + 6, floats, sizeof floats);
    MODBUS_SET_INT64_TO_INT16(map->tab_registers, 14, -1234567890123LL);
    map->tab_input_registers[0] = 7;
    map->tab_bits[0] = map->tab_bits[3] = 1;
    map->tab_input_bits[1] = 1;

    int listening = modbus_tcp_listen(ctx, 1);
    if (listening < 0) {
        fprintf(stderr, "listen: %s\n", modbus_strerror(errno));
        return 1;
    }
    puts("ready");
    fflush(stdout);
    uint8_t query[MODBUS_TCP_MAX_ADU_LENGTH];
    int client = -1;
    for (;;) {
        struct pollfd ends[2] = {{STDIN_FILENO, POLLIN, 0}, {client < 0 ? listening : client, POLLIN, 0}};
        if (poll(ends, 2, -1) < 0 || ends[0].revents)
            return 0;
        if (client < 0) {
            client = modbus_tcp_accept(ctx, &listening);
            continue;
        }
        int length = modbus_receive(ctx, query);
        if (length > 0)
            modbus_reply(ctx, query, length, map);
        else if (length < 0) {
            close(client);
            client = -1;
        }
    }
}
